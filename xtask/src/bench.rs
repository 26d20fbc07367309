//! `cargo xtask bench`: builds the product for release and becomes the bench; the program's size needs none.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::test::PROVIDERS;
use crate::{build, step, tools};

const PRODUCT: [&str; 6] = [
    "build",
    "--release",
    "--package",
    "tenant-kms-operator",
    "--bin",
    "tenant-kms",
];

pub fn run(what: &str, options: &[&str]) -> Result<ExitCode> {
    tools::go()?;
    step::run("building the product for release", step::cargo(&PRODUCT))?;
    // Apart, so that the product has its own features; for release, so that what loads and answers is not what
    // is measured.
    let load = ["build", "--release", "--package", "harness", "--bins"];
    step::run("building the bench for release", step::cargo(&load))?;
    build::control_plane(&build::release()?)?;
    let mut bench = Command::new(build::release()?.join("bench"));
    bench.arg(what).args(options);
    bench.env("TENANT_KMS_BIN", build::release()?.join("tenant-kms"));
    step::become_program(bench)
}

/// The program with no provider but the local one, with each, and as it is shipped; that one last, so that it
/// stays.
pub fn size() -> Result<ExitCode> {
    let alone = PROVIDERS.map(|provider| {
        (
            provider,
            vec!["--no-default-features", "--features", provider],
        )
    });
    let none = (
        "none",
        vec!["--no-default-features", "--features", "operator"],
    );
    let all = ("all", vec![]);
    let mut rows = Vec::new();
    for (name, features) in [vec![none], alone.to_vec(), vec![all]].concat() {
        let args = [&PRODUCT[..], &features].concat();
        let what = format!("the product for release, clouds: {name}");
        step::run(&what, step::cargo(&args))?;
        let bytes = fs::metadata(build::release()?.join("tenant-kms"))?.len();
        let tenths = bytes * 10 / (1024 * 1024);
        rows.push(format!("| {name} | {}.{} MiB |", tenths / 10, tenths % 10));
    }
    println!("\n| clouds | program |\n|---|---|\n{}", rows.join("\n"));
    Ok(ExitCode::SUCCESS)
}
