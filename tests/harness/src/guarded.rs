//! Any process on the control plane program's `guard`: it dies with the guard,
//! and the guard when this process or the value goes away. Signals go to
//! exactly that process, never to a name or a group.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A guarded process; dropping it kills the process and waits.
#[derive(Debug)]
pub struct Guarded {
    inner: Mutex<Inner>,
    pid: u32,
    guard_pid: u32,
    log: PathBuf,
}

#[derive(Debug)]
struct Inner {
    guard: Child,
    stdin: Option<ChildStdin>,
    code: Option<i32>,
}

impl Guarded {
    /// Starts `program` with exactly this environment; its output is appended
    /// to `log`. Blocks for as long as starting a process takes.
    pub fn spawn<A: AsRef<OsStr>>(
        program: &Path,
        args: &[A],
        environment: &BTreeMap<OsString, OsString>,
        log: &Path,
    ) -> Result<Self> {
        let mut guard = Command::new(crate::binaries()?)
            .args(["guard", "--log"])
            .args([log.as_os_str(), "--".as_ref(), program.as_os_str()])
            .args(args)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start the guard")?;
        let guard_pid = guard.id();
        let stdin = guard.stdin.take();
        let stdout = guard.stdout.take().context("the guard has no stdout")?;
        // From here on Drop cleans up, whatever goes wrong.
        let inner = Mutex::new(Inner {
            guard,
            stdin,
            code: None,
        });
        let mut started = Self {
            inner,
            pid: 0,
            guard_pid,
            log: log.to_owned(),
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        started.pid = line
            .strip_prefix("pid ")
            .and_then(|pid| pid.trim().parse().ok())
            .with_context(|| format!("the guard did not start {}", program.display()))?;
        Ok(started)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The guard's own process id: killing it kills the guarded process.
    pub fn guard_pid(&self) -> u32 {
        self.guard_pid
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The exit code (128 + signal for a killed process), if it has ended.
    pub fn code(&self) -> Option<i32> {
        self.lock().poll()
    }

    /// Sends a signal; an error when the process has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Held over both steps: while the guard lives, the id is not reused.
        let mut inner = self.lock();
        if let Some(code) = inner.poll() {
            bail!("the process has ended already with code {code}");
        }
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until the process has ended and gives its code; an error when it
    /// is still running after `within`.
    pub async fn ended(&self, within: Duration) -> Result<i32> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(code) = self.code() {
                return Ok(code);
            }
            if Instant::now() > deadline {
                bail!("process {} is still running after {within:?}", self.pid);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the process at once and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.ended(Duration::from_secs(20)).await.map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn poll(&mut self) -> Option<i32> {
        if self.code.is_none()
            && let Ok(Some(status)) = self.guard.try_wait()
        {
            // A guard that was itself killed has no code of its own.
            self.code = Some(status.code().unwrap_or(-1));
        }
        self.code
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let mut inner = self.lock();
        drop(inner.stdin.take()); // the guard kills and reaps the process
        let _ = inner.guard.wait();
    }
}
