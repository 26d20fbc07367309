//! What is checked from Python: the loopback clouds by clients that nobody here wrote, the AWS provider against
//! an AWS that nobody here wrote, the form of ciphertexts by a second implementation, and the agent API against
//! its OpenAPI document. Virtual environments are kept in the user's cache, by what is in them; one that was not
//! finished is never used.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build, step, tools};

const CLOUDS: &str = "tests/fakecloud/python";
const CIPHERTEXT: &str = "tests/ciphertext";
const AGENT: &str = "tests/agent";
const MINISTACK: &str = "tests/ministack";

/// Runs the checks, with temporary files in `folder`; the workspace and the control plane's program
/// must be built.
pub fn check(folder: &Path, long: bool) -> Result<()> {
    tools::python()?;
    let (common, ministack) = (environment(CLOUDS)?, environment(MINISTACK)?);
    let programs = build::debug()?;
    let run_in = |environment: &Path, what: &str, tests: &str, variable: &str, program: &str| {
        let mut pytest = Command::new(environment.join("env/bin/python"));
        pytest
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", tests])
            .current_dir(build::root())
            .env(variable, programs.join(program))
            .env("TMPDIR", folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.join("hypothesis"))
            .env("MANY_EXAMPLES", if long { "1" } else { "" });
        step::run(what, pytest)
    };
    let run = |what: &str, tests: &str, variable: &str, program: &str| {
        run_in(&common, what, tests, variable, program)
    };
    let clouds = "the loopback clouds by official Python clients";
    let clouds = run(clouds, CLOUDS, "FAKECLOUD_BIN", "fakecloud");
    let ciphertexts = "ciphertexts by examples/decrypt.py";
    let ciphertexts = run(ciphertexts, CIPHERTEXT, "CIPHERTEXT_BIN", "ciphertext");
    let agent = "the agent API against its OpenAPI document";
    let agent = run(agent, AGENT, "AGENT_WORLD_BIN", "agent-world");
    // It needs other versions of AWS's libraries than the loopback clouds are checked with.
    let provider = "the AWS provider against ministack";
    let provider = run_in(
        &ministack,
        provider,
        MINISTACK,
        "TENANT_KMS_BIN",
        "tenant-kms",
    );
    clouds.and(provider).and(ciphertexts).and(agent)
}

/// With what the folder's requirements.txt asks for.
fn environment(tests: &str) -> Result<PathBuf> {
    let requirements = build::root().join(tests).join("requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("read {}", requirements.display()))?;
    let interpreter = ["-c", "import sys; print(sys.executable, sys.version)"];
    let mut hash = DefaultHasher::new();
    (wanted, tools::said("python3", &interpreter)).hash(&mut hash);
    let folder = cache()?.join(format!("venv-{:016x}", hash.finish()));
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let finished = folder.join("finished");
    if !finished.exists() {
        install(&folder, &requirements)?;
        File::create(finished)?;
    }
    Ok(folder)
}

fn install(folder: &Path, requirements: &Path) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(folder.join("env"));
    // `--clear` empties the folder it makes, so that is one below the lock.
    step::run("a Python environment", venv)?;
    let mut pip = Command::new(folder.join("env/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "-r"])
        .arg(requirements);
    step::run("the Python packages of the tests", pip)
}

fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) if Path::new(&folder).is_absolute() => PathBuf::from(folder),
        _ => match std::env::home_dir() {
            Some(home) => home.join(".cache"),
            None => bail!("no home folder for the cache: set XDG_CACHE_HOME"),
        },
    };
    Ok(base.join("tenant-kms-operator"))
}
