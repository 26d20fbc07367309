//! `examples/agent.rs` as a process of its own: a workload that keeps records of one tenant in a
//! folder, encrypted, with its token and CA in files as the kubelet mounts them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::{Env, Guarded, operator, tail, tools};

/// Seconds between its rounds.
const INTERVAL: &str = "1";

/// The running program; dropping it kills it.
#[derive(Debug)]
pub struct Orders {
    process: Guarded,
    folder: PathBuf,
    /// How many of its events were looked at.
    seen: AtomicUsize,
}

impl Orders {
    /// Starts it for `tenant` (`NAMESPACE/NAME`), calling the agent API at `url` with this token.
    pub async fn start(env: &Env, tenant: &str, url: &str, token: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("orders-")
            .tempdir_in(env.dir.path())?
            .keep();
        let (data, log) = (folder.join("data"), folder.join("log"));
        fs::create_dir(&data)?;
        fs::write(folder.join("ca.crt"), env.ca().await?)?;
        mount(&folder, token)?;
        let program = operator::program().with_file_name("examples/agent");
        ensure!(
            program.is_file(),
            "no {}: run `cargo build --example agent`",
            program.display()
        );
        let environment: BTreeMap<OsString, OsString> = BTreeMap::from([
            ("TENANT_KMS_URL".into(), url.into()),
            ("TENANT".into(), tenant.into()),
            ("TOKEN_FILE".into(), folder.join("token").into()),
            ("CA_FILE".into(), folder.join("ca.crt").into()),
            ("DATA_DIR".into(), data.into()),
            ("INTERVAL".into(), INTERVAL.into()),
        ]);
        let start = move || Guarded::spawn::<&str>(&program, &[], &environment, &log);
        let process = tokio::task::spawn_blocking(start).await??;
        Ok(Self {
            process,
            folder,
            seen: AtomicUsize::new(0),
        })
    }

    /// Another token in the same file, as the kubelet renews it.
    pub fn mount(&self, token: &str) -> Result<()> {
        mount(&self.folder, token)
    }

    /// Where its files are: token, CA, log and data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has said since the last event that [`next`](Self::next) gave, one event a line.
    pub fn since(&self) -> Vec<Value> {
        let log = fs::read(self.process.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        // The last line may still be in the writing; the client's own lines are no events.
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["event"].is_string())
            .skip(self.seen.load(Ordering::Relaxed))
            .collect()
    }

    /// Waits for its next event of this name; what it said before that is passed over.
    pub async fn next(&self, event: &str, within: Duration) -> Result<Value> {
        self.first(within, |one| one["event"] == event)
            .await
            .with_context(|| format!("no event {event:?} of the workload"))
    }

    /// The same of the next event that is so.
    pub async fn first(&self, within: Duration, so: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            let found = self.since().into_iter().enumerate().find(|one| so(&one.1));
            if let Some((before, event)) = found {
                self.seen.fetch_add(before + 1, Ordering::Relaxed);
                return Ok(event);
            }
            if let Some(code) = self.process.code() {
                bail!("it ended with {code}:\n{}", tail(self.process.log(), 20));
            }
            if Instant::now() > deadline {
                bail!("not in {within:?}:\n{}", tail(self.process.log(), 20));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// What is stored, the oldest first: names and ciphertexts.
    pub fn records(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.folder.join("data"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("record-") {
                let name = name.into_owned();
                match fs::read(&path) {
                    Ok(bytes) => records.push((name, bytes)),
                    // It keeps the newest only.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error).context(name),
                }
            }
        }
        records.sort();
        Ok(records)
    }

    /// SIGTERM; its exit code.
    pub async fn terminate(&self) -> Result<i32> {
        self.process.signal(Signal::TERM)?;
        self.process.ended(Duration::from_secs(10)).await
    }
}

fn mount(folder: &Path, token: &str) -> Result<()> {
    tools::replace_file(&folder.join("token"), token.as_bytes(), folder)
}
