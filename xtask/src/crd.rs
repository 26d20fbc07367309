//! `cargo xtask crd`: writes what the product generates to where people and the chart take it from.

use std::fs;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::{build, step};

/// One text, two places: a chart can only hold files of its own folder.
const PLACES: [&str; 2] = [
    "crds/tenantkmses.tenantkms.dev.yaml",
    "charts/tenant-kms-operator/files/crd.yaml",
];

pub fn run() -> Result<ExitCode> {
    let args = [
        "run",
        "--quiet",
        "--package",
        "tenant-kms-operator",
        "--bin",
        "tenant-kms",
        "--",
        "crd",
    ];
    step::heading("the CustomResourceDefinition");
    let output = step::cargo(&args).stderr(Stdio::inherit()).output()?;
    if !output.status.success() || output.stdout.is_empty() {
        bail!("`tenant-kms crd`: {}", output.status);
    }
    for place in PLACES {
        let path = build::root().join(place);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let before = fs::read(&path).unwrap_or_default();
        let word = if before == output.stdout {
            "unchanged"
        } else {
            "written"
        };
        fs::write(&path, &output.stdout).with_context(|| format!("write {place}"))?;
        println!("{word}: {place}");
    }
    Ok(ExitCode::SUCCESS)
}
