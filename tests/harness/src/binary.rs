//! Builds the control plane's program once and keeps it in the user's cache.
//! It must never hand out a program built from other sources than these.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, io};

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest;

use crate::{heartbeat, repository};

/// Without a version the API server calls itself v0.0.0 and clients refuse it.
const LDFLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36";

/// The path of the control plane's program, built when it is missing: about
/// five minutes the first time on two cores. Parallel callers wait for one.
pub fn binaries() -> Result<PathBuf> {
    static FOUND: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*found {
        return Ok(path.clone());
    }
    let module = repository().join("tests/controlplane");
    let folder = cache()?.join(format!("controlplane-{}", fingerprint(&module)?));
    let program = folder.join("controlplane");
    if !program.exists() {
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        heartbeat::with("waiting for another build of the control plane", || {
            lock.lock()
        })?;
        if !program.exists() {
            heartbeat::say("building the control plane from source: minutes, once");
            build(&module, ".", &program)?;
        }
    }
    Ok(found.insert(program).clone())
}

/// The program that holds a pod's namespaces, built beside the control plane's.
pub(crate) fn pause() -> Result<PathBuf> {
    let program = binaries()?.with_file_name("pause");
    if !program.exists() {
        build(
            &repository().join("tests/controlplane"),
            "./pause",
            &program,
        )?;
    }
    Ok(program)
}

fn build(module: &Path, package: &str, program: &Path) -> Result<()> {
    let unfinished = program.with_extension("unfinished");
    let status = heartbeat::with("building the control plane", || {
        Command::new("go")
            .args([
                "build",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                LDFLAGS,
                "-o",
            ])
            .args([unfinished.as_os_str(), package.as_ref()])
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            .status()
    });
    match status {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("`go` was not found: tests and demo need Go 1.26 or newer (https://go.dev/dl)")
        }
        Err(error) => Err(error).context("start `go build`"),
        Ok(status) if !status.success() => bail!("`go build` of the control plane: {status}"),
        Ok(_) => Ok(fs::rename(unfinished, program)?),
    }
}

fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(folder) if Path::new(&folder).is_absolute() => PathBuf::from(folder),
        _ => env::home_dir()
            .context("no home folder for the cache: set XDG_CACHE_HOME")?
            .join(".cache"),
    };
    Ok(base.join("tenant-kms-operator"))
}

/// A hash over everything that decides what the program is.
fn fingerprint(module: &Path) -> Result<String> {
    let mut files = Vec::new();
    let folder = fs::read_dir(module).with_context(|| format!("read {}", module.display()))?;
    let paths: io::Result<Vec<_>> = folder.map(|entry| Ok(entry?.path())).collect();
    for path in paths?.into_iter().chain([module.join("pause/main.go")]) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let source = Path::new(&name).extension().is_some_and(|e| e == "go");
        if source || name == "go.mod" || name == "go.sum" {
            files.push((name, fs::read(&path)?));
        }
    }
    files.sort();
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(LDFLAGS.as_bytes());
    hash.update(env::consts::ARCH.as_bytes());
    for (name, content) in files {
        for part in [name.as_bytes(), &content] {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
    }
    Ok(hex(&hash.finish().as_ref()[..8]))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
