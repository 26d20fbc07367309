//! `cargo xtask bench`: builds the product for release and becomes the bench.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{build, step, tools};

pub fn run(what: &str, options: &[&str]) -> Result<ExitCode> {
    tools::go()?;
    let product = [
        "build",
        "--release",
        "--package",
        "tenant-kms-operator",
        "--bin",
        "tenant-kms",
    ];
    step::run("building the product for release", step::cargo(&product))?;
    // The clouds answer with real RSA, which a debug build does as quickly: it is C and assembly.
    build::programs()?;
    let mut bench = Command::new(build::debug()?.join("bench"));
    bench.arg(what).args(options);
    bench.env("TENANT_KMS_BIN", build::release()?.join("tenant-kms"));
    step::become_program(bench)
}
