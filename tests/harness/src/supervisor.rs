//! The control plane's supervisor as a child process, and its line protocol.
//! Its stdin is its lease on life: it must never be inherited by anybody else,
//! so that the control plane ends when this process does, however it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Longer than the supervisor's own limit for one component.
const ANSWER_LIMIT: Duration = Duration::from_mins(4);

#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// The line that says the control plane is up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    pub server: String,
    pub kubeconfig: PathBuf,
    pub etcd_dir: PathBuf,
    pub audit_log: PathBuf,
    pub pids: BTreeMap<String, u32>,
}

/// The answer to one command.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    ok: bool,
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    error: String,
}

impl Supervisor {
    /// Starts a control plane in `dir`, which must be empty and which the
    /// supervisor removes at its end. Blocks until it is up.
    /// `options` are further ones of the supervisor.
    pub(crate) fn start(program: &Path, dir: &Path, options: &[&str]) -> Result<(Self, Ready)> {
        let mut child = Command::new(program)
            .args(["up", "--rm", "--dir"])
            .arg(dir)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for whoever started us: the end of stdin tells it here.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdin = child.stdin.take();
        let stdout = child
            .stdout
            .take()
            .context("the supervisor has no stdout")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if line.map(|line| sender.send(line)).is_err() {
                    break;
                }
            }
        });
        let mut supervisor = Self {
            child,
            stdin,
            lines,
        };
        let ready = supervisor
            .answer()
            .context("the control plane did not start")?;
        Ok((supervisor, ready))
    }

    /// Sends a command (`stop NAME`, `start NAME`) and waits for its answer.
    pub(crate) fn command(&mut self, line: &str) -> Result<Answer> {
        let stdin = self.stdin.as_mut().context("the supervisor has ended")?;
        writeln!(stdin, "{line}").context("the supervisor has ended")?;
        let answer: Answer = self.answer()?;
        if !answer.ok {
            bail!("{line}: {}", answer.error);
        }
        Ok(answer)
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = match self.lines.recv_timeout(ANSWER_LIMIT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("no answer in {} s", ANSWER_LIMIT.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the supervisor has ended, see stderr"),
        };
        serde_json::from_str(&line).with_context(|| format!("not an answer: {line}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // The kernel then kills what it started.
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
