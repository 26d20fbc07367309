//! The operator under test: its own process, under its own `ServiceAccount`,
//! with nothing in its environment that was not put there on purpose.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpSocket;

use crate::{Guarded, tail};

/// How to start an operator; made by [`Env::operator_options`](crate::Env::operator_options).
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// The whole environment.
    pub environment: BTreeMap<OsString, OsString>,
    pub log: PathBuf,
    /// How long it may take until metrics are served; `None` does not wait,
    /// for an operator that is expected to refuse to start.
    pub ready_within: Option<Duration>,
    /// See [`reserve`](Self::reserve).
    pub reserved: Option<Arc<TcpSocket>>,
}

impl OperatorOptions {
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(&OsString::from(name));
        self
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Replaces the value of an option that is set already, or adds both.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        match self.args.iter().position(|arg| arg == name) {
            Some(at) if at + 1 < self.args.len() => self.args[at + 1] = value.into(),
            _ => self.args.extend([name.into(), value.into()]),
        }
        self
    }

    /// Gives this option a loopback address. Nobody else gets its port after the operator's end, before that
    /// is dropped: a socket holds it that does not listen.
    #[must_use]
    pub fn reserve(mut self, name: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("as listeners do");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a loopback port");
        let address = socket.local_addr().expect("an address");
        self.reserved = Some(Arc::new(socket));
        self.option(name, address.to_string())
    }

    #[must_use]
    pub fn without_waiting(mut self) -> Self {
        self.ready_within = None;
        self
    }
}

/// The operator's program: `TENANT_KMS_BIN`, else `tenant-kms` in the target
/// folder of the running test (`deps/` is one below, `examples/` too).
pub(crate) fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("TENANT_KMS_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("tenant-kms"));
    found
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| "tenant-kms".into())
}

/// A running operator; dropping it kills it.
#[derive(Debug)]
pub struct Operator {
    process: Guarded,
    _reserved: Option<Arc<TcpSocket>>,
}

impl Operator {
    pub(crate) async fn start(options: OperatorOptions) -> Result<Self> {
        let within = options.ready_within;
        let operator = tokio::task::spawn_blocking(move || {
            let OperatorOptions {
                program,
                args,
                environment,
                log,
                reserved,
                ..
            } = options;
            if !program.is_file() {
                bail!(
                    "no operator at {}: run `cargo build` or set TENANT_KMS_BIN",
                    program.display()
                );
            }
            anyhow::Ok(Self {
                process: Guarded::spawn(&program, &args, &environment, &log)?,
                _reserved: reserved,
            })
        })
        .await??;
        if let Some(within) = within {
            operator
                .wait_log(METRICS, within)
                .await
                .context("the operator did not start")?;
        }
        Ok(operator)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log_path(&self) -> &Path {
        self.process.log()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.process.log()).unwrap_or_default()).into_owned()
    }

    /// The address of its metrics and health server, without a path; empty
    /// before it has logged it.
    pub fn metrics_url(&self) -> String {
        let address = self.address(METRICS);
        address.map_or_else(String::new, |address| format!("http://{address}"))
    }

    /// The address of its agent API, without a path; empty where it serves none.
    pub fn agent_url(&self) -> String {
        let address = self.address(AGENT);
        address.map_or_else(String::new, |address| format!("https://{address}"))
    }

    /// What the last line with this message tells.
    fn address(&self, message: &str) -> Option<String> {
        let log = self.log();
        let events = log.lines().filter(|line| line.contains(message));
        let events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let address = |event: Value| {
            let address = event
                .get("address")
                .or_else(|| event.pointer("/fields/address"))?;
            Some(address.as_str()?.to_owned())
        };
        events.filter_map(address).next_back()
    }

    /// Waits until it says that it is ready.
    pub async fn until_ready(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let (status, text) = self.get("/readyz").await?;
            if status == 200 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "not ready in {within:?}: {text}\n{}",
                    tail(self.process.log(), 40)
                );
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until it holds the shard.
    pub async fn until_holder(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self.metrics().await?.contains("tenantkms_holder 1") {
            if Instant::now() > deadline {
                bail!("no holder in {within:?}:\n{}", tail(self.process.log(), 40));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }

    /// `GET /metrics`.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.get("/metrics").await?.1)
    }

    /// Status and body of a path on the metrics address, such as `/readyz`.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        let answer = client
            .get(format!("{}{path}", self.metrics_url()))
            .send()
            .await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// SIGTERM; gives the exit code, or an error after 30 seconds.
    pub async fn terminate(&self) -> Result<i32> {
        self.process.signal(Signal::TERM)?;
        let ended = self.process.ended(Duration::from_secs(30)).await;
        ended.with_context(|| {
            format!(
                "after SIGTERM; its log ends:\n{}",
                tail(self.process.log(), 40)
            )
        })
    }

    /// Waits for it to end by itself and gives the exit code.
    pub async fn ended(&self, within: Duration) -> Result<i32> {
        self.process.ended(within).await
    }

    /// SIGSTOP: it stands still, as on a machine that sleeps.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// SIGCONT after [`pause`](Self::pause).
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Waits until a line of the log contains `needle` and gives the last such line.
    pub async fn wait_log(&self, needle: &str, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self.process.code();
            if let Some(line) = self.log().lines().rfind(|line| line.contains(needle)) {
                return Ok(line.to_owned());
            }
            let log = || tail(self.process.log(), 40);
            if let Some(code) = ended {
                bail!(
                    "the operator ended with code {code} before it logged {needle:?}:\n{}",
                    log()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "the operator did not log {needle:?} in {within:?}:\n{}",
                    log()
                );
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

/// The message of the line that tells the metrics address.
const METRICS: &str = "metrics listening";
/// And of the one that tells the agent API's.
const AGENT: &str = "agent API listening";

impl Drop for Operator {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the operator's log ends:\n{}", tail(self.process.log(), 60));
        }
    }
}
