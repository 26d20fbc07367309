//! `cargo xtask test`: everything that must hold. `cargo test` comes last, so that its closing lines
//! end the output; an earlier part that fails does not keep the later ones from being run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Result, bail};

use crate::{build, cluster, dependencies, python, signals, step, tools};

/// Each a feature of the product.
pub const PROVIDERS: [&str; 3] = ["aws", "azure", "gcp"];

pub fn run(long: bool) -> Result<ExitCode> {
    tools::cc()?;
    tools::go()?;
    tools::python()?;
    let build = ["test", "--workspace", "--no-run"];
    step::run("building the tests", step::cargo(&build))?;
    build::control_plane(&build::debug()?)?;

    let folder = Folder::new()?;
    let mut failed = Vec::new();
    let mut part = |result: Result<()>| -> Result<()> {
        signals::check()?;
        if let Err(error) = result {
            println!("FAILED: {error:#}");
            failed.push(format!("{error:#}"));
        }
        Ok(())
    };
    part(dependencies::check())?;
    part(python::check(&folder.0, long))?;
    if long {
        part(features())?;
        part(stories())?;
        part(cluster::check())?;
        part(fuzz())?;
    }
    let tests = tests(&folder.0);
    signals::check()?;
    if failed.is_empty() {
        tests?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Err(error) = tests {
        failed.push(format!("{error:#}"));
    }
    bail!("{}", failed.join("; "))
}

fn tests(folder: &Path) -> Result<()> {
    let mut tests = step::cargo(&["test", "--workspace", "--no-fail-fast"]);
    tests
        .env("TENANT_KMS_BIN", build::debug()?.join("tenant-kms"))
        .env("TMPDIR", folder);
    step::run("the tests", tests)
}

/// The demo's story of each cloud; it fails at a step that does not come true, or not in its place.
fn stories() -> Result<()> {
    build::programs()?;
    let folder = build::debug()?;
    for provider in PROVIDERS {
        let mut demo = Command::new(folder.join("demo"));
        demo.args(["--provider", provider]);
        demo.env("TENANT_KMS_BIN", folder.join("tenant-kms"));
        step::run(&format!("the demo with {provider}"), demo)?;
    }
    Ok(())
}

/// Ten minutes of random input for each target; what fails is kept, and fails from then on.
fn fuzz() -> Result<()> {
    let args = ["run", "--package", "fuzz", "--", "all", "600"];
    step::run("fuzzing", step::cargo(&args))
}

/// The product without any cloud, with each alone, and the client alone: what is behind a feature must not be needed
/// by the rest, and a workload builds nothing but the client.
fn features() -> Result<()> {
    let product = ["clippy", "--package", "tenant-kms-operator"];
    let strict = ["--no-default-features", "--", "-D", "warnings"];
    let with = |feature: &'static str| {
        let feature = ["--features", feature];
        step::cargo(&[&product[..], &feature, &strict].concat())
    };
    step::run("the product without any cloud", with("operator"))?;
    for provider in PROVIDERS {
        let what = format!("the product with {provider} alone");
        step::run(&what, with(provider))?;
    }
    let client = ["--lib", "--features", "client"];
    let client = [&product[..], &client, &strict].concat();
    step::run("the client alone", step::cargo(&client))
}

/// A folder for the tests' temporary files: what an interrupted one leaves behind goes with it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let name = format!("tenant-kms-test-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // After Ctrl-C a control plane may still be ending and writing to its folder.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = fs::remove_dir_all(&self.0) {
            if Instant::now() > deadline {
                eprintln!("{} is left behind: {error}", self.0.display());
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
