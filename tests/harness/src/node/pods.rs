//! The operator's pods as they run, and their processes as the kernel sees them. It looks, and
//! ends no other process than the one it is told to.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One replica.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub address: String,
    pub ready: bool,
}

impl Pod {
    /// From a pod as the API server has it; none for one that is ending.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let text = |path: &str| Some(object.pointer(path)?.as_str()?.to_owned());
        if object.pointer("/metadata/deletionTimestamp").is_some() {
            return None;
        }
        let conditions = object
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        Some(Self {
            name: text("/metadata/name")?,
            address: text("/status/podIP").unwrap_or_default(),
            ready: conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
        })
    }

    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        if self.address.is_empty() {
            bail!("{} has no address yet", self.name);
        }
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}:8080{path}", self.address);
        let response = client.get(&url).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// The process of the operator in this pod, by its host name, which is the pod's.
    pub fn process(&self) -> Result<PathBuf> {
        for entry in fs::read_dir("/proc")? {
            let folder = entry?.path();
            // Processes end while they are looked at.
            let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
            let (environment, program) = (read("environ"), read("comm"));
            let wanted = format!("HOSTNAME={}", self.name);
            let mut variables = environment.split(|byte| *byte == 0);
            if program == b"tenant-kms\n" && variables.any(|text| text == wanted.as_bytes()) {
                return Ok(folder);
            }
        }
        bail!("no process of {}", self.name)
    }

    /// SIGKILL to that process, and to nothing else.
    pub fn kill(&self) -> Result<()> {
        let folder = self.process()?;
        let number = folder.file_name().unwrap_or_default().to_string_lossy();
        let pid = Pid::from_raw(number.parse()?).context("no process id")?;
        Ok(kill_process(pid, Signal::KILL)?)
    }

    /// A field of its process's /proc/PID/status.
    pub fn status(&self, field: &str) -> Result<String> {
        let status = fs::read_to_string(self.process()?.join("status"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .with_context(|| format!("no {field} in {status}"))
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> Result<f64> {
        let text = self.status("VmRSS")?;
        let kib: f64 = text.split(' ').next().unwrap_or_default().parse()?;
        Ok(kib / 1024.0)
    }
}
