//! What must be installed besides Rust, and what to do when it is not.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::build;

const GO: &str = "Go 1.26 or newer is needed: tests and demo build a real control plane from its \
    sources (https://go.dev/dl)";
const PYTHON: &str = "Python 3.9 or newer with `venv` is needed: the loopback clouds are checked \
    with the clouds' own Python clients (Debian, Ubuntu: apt-get install python3-venv)";
const CC: &str = "A C compiler is needed: AWS-LC, the operator's cryptography, is built with it \
    (Debian, Ubuntu: apt-get install gcc libc6-dev)";

/// A C compiler and the C library's headers, before minutes of building end for want of them.
pub fn cc() -> Result<()> {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let probe = Command::new(&compiler)
        .args(["-fsyntax-only", "-include", "stdlib.h", "-x", "c", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match probe {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!(
            "`{}` cannot compile C against the C library. {CC}",
            compiler.display()
        ),
        Err(_) => bail!("`{}` was not found. {CC}", compiler.display()),
    }
}

/// Go, as new as the control plane's module asks for. An older one may fetch that itself, so it is
/// asked where the module is.
pub fn go() -> Result<()> {
    let asked = Command::new("go")
        .args(["list", "-m"])
        .current_dir(build::root().join("tests/controlplane"))
        .output();
    match asked {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("{}\n{GO}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(_) => bail!("`go` was not found. {GO}"),
    }
}

/// Python 3 with what a virtual environment needs.
pub fn python() -> Result<()> {
    let probe = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";
    let status = Command::new("python3")
        .args(["-c", probe])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("`python3` is too old or lacks `venv`. {PYTHON}"),
        Err(_) => bail!("`python3` was not found. {PYTHON}"),
    }
}

/// The trimmed standard output of a program that succeeds.
pub fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
