//! Who runs where: the operator has a core for itself, the load and the control plane share another.

use std::ffi::OsString;
use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use harness::OperatorOptions;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const TASKSET: &str = "/usr/bin/taskset";

#[derive(Clone, Copy, Debug)]
pub struct Cores {
    server: usize,
    others: usize,
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, others } = self;
        write!(
            f,
            "the operator on core {server}, load and control plane on core {others}"
        )
    }
}

impl Cores {
    pub fn of_this_machine() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().context("no core")?;
        let others = cores
            .next()
            .context("two cores are needed: one for the load")?;
        Ok(Self { server, others })
    }

    /// By `taskset`, of util-linux: what is started sees no other core.
    pub fn serve(self, options: OperatorOptions) -> OperatorOptions {
        let mut args: Vec<OsString> = vec!["--cpu-list".into(), self.server.to_string().into()];
        args.push(options.program.into());
        args.extend(options.args);
        OperatorOptions {
            program: TASKSET.into(),
            args,
            ..options
        }
    }

    /// A process that runs already.
    pub fn stand_by(self, pid: u32) -> Result<()> {
        pin(pid, self.others)
    }

    /// The calling thread, and those that it starts: in the operator's place.
    pub fn serve_here(self) -> Result<()> {
        Ok(sched_setaffinity(None, &only(self.server))?)
    }

    /// The calling thread, and those that it starts.
    pub fn load(self) -> Result<()> {
        Ok(sched_setaffinity(None, &only(self.others))?)
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Every thread that a process has; those that they start will be there too.
fn pin(pid: u32, core: usize) -> Result<()> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.file_name();
        let task = task.to_str().and_then(|name| name.parse().ok());
        let task = task.and_then(Pid::from_raw).context("not a thread's id")?;
        // One that has just ended needs no core.
        let _ = sched_setaffinity(Some(task), &only(core));
    }
    Ok(())
}
