//! `cargo xtask demo`: builds what is needed and becomes the demo.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{build, step, tools};

pub fn run(options: &[&str]) -> Result<ExitCode> {
    tools::go()?;
    build::programs()?;
    let folder = build::debug()?;
    let mut demo = Command::new(folder.join("demo"));
    demo.args(options);
    demo.env("TENANT_KMS_BIN", folder.join("tenant-kms"));
    step::become_program(demo)
}
