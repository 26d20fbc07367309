//! `cargo xtask cluster` and everything else that runs pods: builds the program of the image, which
//! is linked statically, and becomes the program that makes the node.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{build, step, tools};

/// `up` and `down`. The cluster is this checkout's own, and so is the folder that knows of it.
pub fn run(what: &str) -> Result<ExitCode> {
    let folder = build::debug()?.with_file_name("cluster");
    tools::go()?;
    if what == "up" {
        refuse_early()?;
        build::programs()?;
    } else {
        let bins = ["build", "--package", "harness", "--bins"];
        step::run("building", step::cargo(&bins))?;
    }
    let mut cluster = Command::new(build::debug()?.join("cluster"));
    cluster.arg(what).arg(folder);
    if what == "up" {
        cluster.env("TENANT_KMS_STATIC_BIN", program()?);
    }
    step::become_program(cluster)
}

/// `demo --cluster`.
pub fn demo() -> Result<ExitCode> {
    tools::go()?;
    refuse_early()?;
    build::programs()?;
    let mut demo = Command::new(build::debug()?.join("demo"));
    demo.arg("--cluster")
        .env("TENANT_KMS_STATIC_BIN", program()?);
    step::become_program(demo)
}

/// The installation on a real node; where none can be made, a line says why it was left out.
pub fn check() -> Result<()> {
    let bins = ["build", "--workspace", "--bins"];
    step::run("building", step::cargo(&bins))?;
    if std::env::var_os("CI").is_some() {
        println!("SKIPPED in CI: the installation on a real node");
        return Ok(());
    }
    if let Some(why) = impossible()? {
        println!("SKIPPED: the installation on a real node: {why}");
        return Ok(());
    }
    let mut cluster = Command::new(build::debug()?.join("cluster"));
    cluster
        .arg("check")
        .env("TENANT_KMS_STATIC_BIN", program()?);
    step::run("the installation on a real node", cluster)
}

/// Builds nothing for minutes that cannot be used then.
fn refuse_early() -> Result<()> {
    let bins = ["build", "--package", "harness", "--bins"];
    step::run("building", step::cargo(&bins))?;
    match impossible()? {
        Some(why) => bail!("{why}"),
        None => Ok(()),
    }
}

/// Why there can be no node here, if so.
fn impossible() -> Result<Option<String>> {
    let asked = Command::new(build::debug()?.join("cluster"))
        .arg("possible")
        .output()?;
    let said = String::from_utf8_lossy(&asked.stderr);
    Ok((!asked.status.success()).then(|| said.trim().to_owned()))
}

/// What the image consists of: a release build as the Dockerfile makes it.
fn program() -> Result<PathBuf> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = tools::said(&rustc, &["-vV"]).context("ask rustc for its host")?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say its host")?;
    let folder = build::debug()?.with_file_name("image");
    let mut cargo = step::cargo(&["build", "--release", "--package", "tenant-kms-operator"]);
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        host.to_uppercase().replace('-', "_")
    );
    cargo
        .args(["--bin", "tenant-kms", "--target", host, "--target-dir"])
        .arg(&folder)
        .env(variable, "-C target-feature=+crt-static");
    step::run("building the program of the image", cargo)?;
    Ok(folder.join(host).join("release/tenant-kms"))
}
