//! `cargo xtask demo`: builds what is needed and becomes the demo.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{build, step, tools};

pub fn run(keep: bool) -> Result<ExitCode> {
    tools::go()?;
    build::programs()?;
    let folder = build::debug()?;
    let mut demo = Command::new(folder.join("demo"));
    if keep {
        demo.arg("--keep");
    }
    demo.env("TENANT_KMS_BIN", folder.join("tenant-kms"));
    step::become_program(demo)
}
