//! `cargo xtask crd`: writes what the product generates to where people and the chart take it from.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{build, step};

/// One text, two places: a chart can only hold files of its own folder.
const PLACES: [&str; 2] = [
    "crds/tenantkmses.tenantkms.dev.yaml",
    "charts/tenant-kms-operator/files/crd.yaml",
];

pub fn run() -> Result<ExitCode> {
    step::heading("the CustomResourceDefinition");
    let yaml = step::product(&["crd"])?;
    for place in PLACES {
        let path = build::root().join(place);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let before = fs::read_to_string(&path).unwrap_or_default();
        let word = if before == yaml {
            "unchanged"
        } else {
            "written"
        };
        fs::write(&path, &yaml).with_context(|| format!("write {place}"))?;
        println!("{word}: {place}");
    }
    Ok(ExitCode::SUCCESS)
}
