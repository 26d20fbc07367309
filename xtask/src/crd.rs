//! `cargo xtask crd`: writes what the product generates to where people and the chart take it from.

use std::process::ExitCode;

use anyhow::Result;

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
        build::write(place, &yaml)?;
    }
    Ok(ExitCode::SUCCESS)
}
