//! What it was measured on, what the kernel says of a process, and a sign of life meanwhile.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// One line: processors, memory, kernel, and how busy the machine is already.
pub fn shape() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = field(&info, "model name").unwrap_or("unknown processor");
    let memory = read("/proc/meminfo");
    let kib: u64 = number(field(&memory, "MemTotal")).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{cpus} × {model}, {} GiB, Linux {}, load before: {}",
        kib / (1024 * 1024),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default()
    )
}

/// The product that is measured: its size and whether it is a release build.
pub fn program() -> Result<String> {
    let path = std::env::var_os("TENANT_KMS_BIN").context("TENANT_KMS_BIN names the operator")?;
    let path = Path::new(&path);
    let size = fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    Ok(format!("{}: {}", path.display(), mebibytes(size)))
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = number(field(&status, "VmRSS")).context("no VmRSS")?;
    Ok(kib * 1024)
}

/// Processor time that a process has used, or a thread (`PROCESS/task/THREAD`), in ticks of 10 ms.
pub fn ticks(of: impl Display) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{of}/stat"))?;
    // The name in parentheses may hold spaces; user and system time are 12 and 13 after it.
    let (_, rest) = stat.rsplit_once(") ").context("no name")?;
    let fields: Vec<_> = rest.split(' ').collect();
    let at = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    Ok(at(11).context("no user time")? + at(12).context("no system time")?)
}

pub fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.split(' ').next()?.parse().ok()
}

/// Prints a count now and then.
pub fn progress(what: String) -> Progress {
    eprintln!("{what}");
    Progress {
        what,
        last: Instant::now(),
    }
}

#[derive(Debug)]
pub struct Progress {
    what: String,
    last: Instant,
}

impl Progress {
    pub fn at(&mut self, count: usize) {
        if self.last.elapsed() > Duration::from_secs(8) {
            self.last = Instant::now();
            eprintln!("  {}: {count} done", self.what);
        }
    }
}
