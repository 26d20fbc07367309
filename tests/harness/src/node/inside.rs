//! The inside of a node's namespaces, before anything runs there: a network, empty folders where
//! the node's programs write to fixed places, and kernel settings that only look changed. It must
//! never run outside of them.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};

use super::{ADDRESS, cgroups};
use crate::repository;

/// Says to the program started there what its cgroup is called.
pub(super) const VARIABLE: &str = "TENANT_KMS_NODE";

/// The node's programs write below these, whatever they are told.
const FOLDERS: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// What the kubelet wants of the whole machine. It gets files of its own to write to.
const SETTINGS: [(&str, &str); 6] = [
    ("/proc/sys/vm/overcommit_memory", "1"),
    ("/proc/sys/vm/panic_on_oom", "0"),
    ("/proc/sys/kernel/panic", "10"),
    ("/proc/sys/kernel/panic_on_oops", "1"),
    ("/proc/sys/kernel/keys/root_maxkeys", "1000000"),
    ("/proc/sys/kernel/keys/root_maxbytes", "25000000"),
];

/// Whether this process is the first one of a node's namespaces.
pub fn is_inside() -> bool {
    std::env::var_os(VARIABLE).is_some() && std::process::id() == 1
}

/// From now on this process ends when whoever started it does, or lets go of it; with it, all
/// that runs in its namespaces.
pub fn within_leash() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(130);
    });
}

/// Makes the namespaces fit for a node; the name of its cgroup.
pub fn enter() -> Result<String> {
    if !is_inside() {
        bail!("a node needs namespaces of its own");
    }
    let name = std::env::var(VARIABLE)?;
    network().context("the node's network")?;
    for folder in FOLDERS {
        run("mount", &["-t", "tmpfs", "-o", "mode=755", "node", folder])?;
    }
    if !repository().join("Cargo.toml").exists() {
        bail!(
            "{} is below one of {FOLDERS:?}, which a node hides",
            repository().display()
        );
    }
    for (number, (setting, value)) in SETTINGS.iter().enumerate() {
        if Path::new(setting).exists() {
            let own = format!("/run/setting-{number}");
            fs::write(&own, format!("{value}\n"))?;
            run("mount", &["--bind", &own, setting])?;
        }
    }
    cgroups::make(&name)?;
    Ok(name)
}

/// One interface with the node's address, whose other end is here too: no way leads out.
fn network() -> Result<()> {
    let cidr = format!("{ADDRESS}/24");
    for args in [
        &["link", "set", "lo", "up"][..],
        &[
            "link", "add", "node0", "type", "veth", "peer", "name", "node1",
        ],
        &["address", "add", &cidr, "dev", "node0"],
        &["link", "set", "node0", "up"],
        &["link", "set", "node1", "up"],
        &["route", "add", "default", "dev", "node0"],
    ] {
        run("ip", args)?;
    }
    Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?)
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", args.join(" "), said.trim());
    }
    Ok(())
}
