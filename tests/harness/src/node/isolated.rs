//! The outside of a node: this program started again in namespaces of its own, and what is left to
//! remove when they have ended. Without the rights for that it says so and starts nothing.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand;
use rustix::process::geteuid;
use tokio::signal::unix::{SignalKind, signal};

use super::leftovers::{self, Folder};
use super::{cgroups, inside};
use crate::binary;

/// What Debian's packages install, and the package of each.
const NEEDED: [(&str, &str); 7] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/bin/ctr", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/bin/unshare", "util-linux"),
];

const PAUSE: Duration = Duration::from_millis(20);

/// Bit of `CAP_SYS_ADMIN` in the capability sets of /proc.
const SYS_ADMIN: u32 = 21;

/// Fails, with what to do, where no node can be started.
pub fn check_requirements() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    if !geteuid().is_root() || effective & (1 << SYS_ADMIN) == 0 {
        bail!("a node needs root and CAP_SYS_ADMIN: it is made of namespaces, mounts and cgroups");
    }
    let mut missing: Vec<_> = NEEDED
        .iter()
        .filter(|(path, _)| !Path::new(path).exists())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        bail!(
            "a node needs programs that are not installed (Debian, Ubuntu: \
             apt-get install --no-install-recommends {})",
            missing.join(" ")
        );
    }
    Ok(())
}

/// This program, running as the first process of its own namespaces.
#[derive(Debug)]
pub struct Isolated {
    child: Child,
    name: String,
    _folder: Option<Folder>,
}

impl Isolated {
    /// Starts this program with `args` there, on a leash: it ends when this value or process does.
    pub fn start(args: &[String]) -> Result<Self> {
        leftovers::remove();
        let folder = Folder::new()?;
        let name = folder.name();
        let mut command = command(&name, args, folder.path())?;
        command.stdin(Stdio::piped()).process_group(0);
        let child = command.spawn().context("start unshare")?;
        Ok(Self {
            child,
            name,
            _folder: Some(folder),
        })
    }

    /// Starts it with no leash, its output in `folder`/log: it lives until it is killed, and its
    /// temporary files are in the folder.
    pub fn detach(args: &[String], folder: &Path) -> Result<Self> {
        leftovers::remove();
        let mut random = [0; 4];
        rand::fill(&mut random)?;
        let name = format!("tenant-kms-{}", binary::hex(&random));
        let mut command = command(&name, args, folder)?;
        let log = fs::File::create(folder.join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command.spawn().context("start unshare")?;
        Ok(Self {
            child,
            name,
            _folder: None,
        })
    }

    /// The cgroup's name, by which [`end`](Self::end) finds what to remove.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process outside whose death ends all inside.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first process inside, by its number outside; none before it runs.
    pub fn init(&self) -> Option<u32> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.trim().parse().ok()
    }

    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Starts this program with `args` there and waits until it ends, or a signal ends it; the exit
    /// code. Nothing is left either way.
    pub async fn run(args: &[String]) -> Result<u8> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut isolated = Self::start(args)?;
        let ended = async {
            loop {
                if let Some(status) = isolated.try_wait()? {
                    return io::Result::Ok(status.code().unwrap_or(1));
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let code = tokio::select! {
            code = ended => u8::try_from(code?).unwrap_or(1),
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        };
        isolated.end()?;
        Ok(code)
    }

    /// Ends all of it now, and removes what namespaces do not take with them.
    pub fn end(mut self) -> Result<()> {
        self.stop();
        cgroups::remove(&self.name)
    }

    /// Removes what an ended one of that name has left.
    pub fn clean(name: &str) -> Result<()> {
        cgroups::remove(name)
    }

    fn stop(&mut self) {
        drop(self.child.stdin.take());
        if let Ok(None) = self.child.try_wait() {
            let init = self.init();
            let _ = self.child.kill();
            let _ = self.child.wait();
            while init.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
                thread::sleep(PAUSE);
            }
        }
    }
}

fn command(name: &str, args: &[String], folder: &Path) -> Result<Command> {
    let own = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new("/usr/bin/unshare");
    command
        .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork"])
        .args(["--kill-child=SIGKILL", "--mount-proc"])
        .args(["--propagation", "private"])
        .arg(own)
        .args(args)
        .env(inside::VARIABLE, name)
        .env("TMPDIR", folder);
    // No proxy leads out of there.
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    Ok(command)
}
