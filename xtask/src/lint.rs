//! `cargo xtask lint`: form and clippy, on everything, with warnings as errors.

use std::process::ExitCode;

use anyhow::Result;

use crate::step;

pub fn run() -> Result<ExitCode> {
    step::run("rustfmt", step::cargo(&["fmt", "--all", "--check"]))?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step::run("clippy", step::cargo(&clippy))?;
    Ok(ExitCode::SUCCESS)
}
