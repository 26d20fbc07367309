//! kubectl and helm, as a person would run them, but with nothing of the
//! caller's environment: no proxy, no own kubeconfig, no plugins of theirs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longer than any `kubectl wait` a test has reason to ask for.
const LIMIT: Duration = Duration::from_mins(5);

/// What a tool said and whether it succeeded.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The standard output of a success; a failure is an error with all of it.
    pub fn success(self) -> Result<String> {
        if !self.status {
            bail!("{}{}", self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }
}

/// Runs the control plane's program as `args[0]` with a kubeconfig; `home` is
/// where the tools may keep their caches.
pub(crate) async fn run(
    program: &Path,
    home: &Path,
    kubeconfig: &Path,
    args: &[&str],
    input: Option<&str>,
) -> Result<Output> {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(crate::repository())
        .env_clear()
        .env("HOME", home)
        .env("KUBECONFIG", kubeconfig)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in ["PATH", "KUBEBUILDER_ASSETS"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A tool that refuses its arguments does not read to the end.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let work = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(LIMIT, work).await.with_context(|| {
        format!(
            "`{}` took longer than {} s",
            args.join(" "),
            LIMIT.as_secs()
        )
    })??;
    Ok(Output {
        status: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Replaces a file atomically with one that only its owner can read. The new
/// one is prepared in `staging`, which must be on the same file system.
pub(crate) fn replace_file(path: &Path, content: &[u8], staging: &Path) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(staging)?; // mode 0600
    std::io::Write::write_all(&mut file, content)?;
    file.persist(path)?;
    Ok(())
}
