//! A one-node cluster with the chart installed: to look around in (`up`, `down`), and checked from
//! installing to uninstalling (`check`). It must never touch another cluster, and leaves nothing of
//! its own on the machine.

mod check;
mod customers;
mod film;
mod kept;
mod life;
mod records;
mod restrictions;
mod serve;
mod webhook;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use harness::node::{self, Isolated};

const USAGE: &str = "usage: cluster up FOLDER | down FOLDER | check | possible";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cluster: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(&args));
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[String]) -> Result<u8> {
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["check"] if node::is_inside() => {
            node::within_leash();
            check::run(&program()?).await.map(|()| 0)
        }
        ["serve", folder] if node::is_inside() => {
            serve::run(&program()?, Path::new(folder)).await.map(|()| 0)
        }
        // Whether the others can be used here; the error says what is missing.
        ["possible"] => node::check_requirements().map(|()| 0),
        ["check"] => {
            prepare().await?;
            Isolated::run(args).await
        }
        ["up", folder] => {
            prepare().await?;
            kept::up(Path::new(folder)).await.map(|()| 0)
        }
        ["down", folder] => {
            node::check_requirements()?;
            kept::down(Path::new(folder)).await.map(|()| 0)
        }
        _ => bail!(USAGE),
    }
}

/// What cannot be done in a network of its own.
async fn prepare() -> Result<()> {
    node::check_requirements()?;
    program()?;
    tokio::task::spawn_blocking(harness::binaries)
        .await?
        .map(drop)
}

/// The operator's static program.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("TENANT_KMS_STATIC_BIN").map(PathBuf::from);
    path.context("no static program in TENANT_KMS_STATIC_BIN: use `cargo xtask cluster`")
}
