//! A cluster that outlives the command that made it, and its end. Which processes it is made of is
//! in its folder; nothing is found or ended by a name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::binaries;
use harness::node::Isolated;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::signal::ctrl_c;
use tokio::time::sleep;

use crate::serve::READY;

const STATE: &str = "state.json";
const PAUSE: Duration = Duration::from_millis(50);

/// A process, known again by when it started.
#[derive(Debug, Deserialize, Serialize)]
struct Process {
    pid: i32,
    started: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct State {
    cgroup: String,
    /// The one whose death ends the other, and the first one inside.
    processes: Vec<Process>,
}

impl Process {
    fn of(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid)?;
        let started = started(pid).context("it has ended")?;
        Ok(Self { pid, started })
    }

    fn lives(&self) -> bool {
        started(self.pid).is_some_and(|started| started == self.started)
    }
}

/// When a process started, in ticks since the machine did; none for one that has ended.
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

pub async fn up(folder: &Path) -> Result<()> {
    if read(folder).is_some_and(|state| state.processes.iter().any(Process::lives)) {
        bail!("it is up already: `cargo xtask cluster down` ends it");
    }
    down(folder).await?;
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    let path = folder.display().to_string();
    let mut isolated = Isolated::detach(&["serve".to_owned(), path], folder)?;
    let waited = tokio::select! {
        waited = ready(folder, &mut isolated) => waited,
        _ = ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match waited {
        Ok((init, ready)) => explain(folder, init, &ready),
        Err(error) => {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            isolated.end()?;
            fs::remove_dir_all(folder)?;
            Err(error.context(format!("the cluster did not come up:\n{log}")))
        }
    }
}

/// Writes down what runs as soon as it does; then waits until it can be used.
async fn ready(folder: &Path, isolated: &mut Isolated) -> Result<(u32, Value)> {
    let deadline = Instant::now() + Duration::from_mins(5);
    let mut known = None;
    loop {
        if let Some(status) = isolated.try_wait()? {
            bail!("it ended by itself: {status}");
        }
        if let (None, Some(init)) = (known, isolated.init()) {
            let state = State {
                cgroup: isolated.name().to_owned(),
                processes: vec![Process::of(isolated.pid())?, Process::of(init)?],
            };
            fs::write(folder.join(STATE), serde_json::to_string(&state)?)?;
            known = Some(init);
        }
        if let (Some(init), Ok(text)) = (known, fs::read_to_string(folder.join(READY))) {
            return Ok((init, serde_json::from_str(&text)?));
        }
        if Instant::now() > deadline {
            bail!("it was not ready in five minutes");
        }
        sleep(PAUSE).await;
    }
}

fn read(folder: &Path) -> Option<State> {
    let text = fs::read_to_string(folder.join(STATE)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Ends it, if it is up, and removes what it leaves.
pub async fn down(folder: &Path) -> Result<()> {
    if let Some(state) = read(folder) {
        for process in &state.processes {
            if let (true, Some(pid)) = (process.lives(), Pid::from_raw(process.pid)) {
                // It may end on its own in between.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while state.processes.iter().any(Process::lives) {
            if Instant::now() > deadline {
                bail!("killed, and still there: {:?}", state.processes);
            }
            sleep(PAUSE).await;
        }
        Isolated::clean(&state.cgroup)?;
        println!(
            "ended: processes, mounts, network and cgroups of {}",
            state.cgroup
        );
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn explain(folder: &Path, init: u32, ready: &Value) -> Result<()> {
    let text = |name: &str| ready[name].as_str().unwrap_or_default();
    let tool = |name: &str, command: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        fs::write(
            &path,
            format!("#!/bin/sh\nexec nsenter --target {init} --net -- {command}\n"),
        )?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    };
    let program = binaries()?;
    let with = format!(
        "env KUBECONFIG='{}' '{}'",
        text("kubeconfig"),
        program.display()
    );
    let kubectl = tool("kubectl", &format!("{with} kubectl \"$@\""))?;
    let helm = tool("helm", &format!("{with} helm \"$@\""))?;
    let azure = tool(
        "azure",
        &format!(
            "curl --silent --show-error --noproxy '*' --header 'content-type: application/json' \
             --data \"$1\" {}/commands",
            text("control")
        ),
    )?;
    let kubectl = kubectl.display();
    let revoke = &ready["no"];
    println!(
        "\nThe chart is installed; both replicas were ready after {:.1} s.\n\n  \
         {kubectl} get pods -n tenant-kms-system\n  \
         {kubectl} apply -f examples/azure-client-secret/tenant.yaml\n  \
         {kubectl} apply -f examples/azure-managed-identity/tenant.yaml\n  \
         {kubectl} get tkms -A -w\n  \
         {} list -A\n\n\
         Be the customer (take the role away; \"grant\" gives it back):\n  {} '{revoke}'\n\n\
         `cargo xtask cluster down` ends it.",
        ready["seconds"].as_f64().unwrap_or_default(),
        helm.display(),
        azure.display(),
    );
    Ok(())
}
