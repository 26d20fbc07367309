//! The control plane itself: what it answers, what it survives, and that
//! nothing of it is left behind, however its owner ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::{Component, ControlPlane, Guarded};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const COMPONENTS: [Component; 3] = [
    Component::Etcd,
    Component::ApiServer,
    Component::ControllerManager,
];

/// Whether a process exists and is more than an entry that waits to be reaped.
fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "PID (NAME) STATE …", and a name may contain anything.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn gone(pids: &[u32]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left: Vec<_> = pids.iter().filter(|pid| alive(**pid)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("of {pids:?} there is still {left:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kill(pid: u32) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a process id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

fn all_pids(control: &ControlPlane) -> Vec<u32> {
    let mut pids: Vec<_> = COMPONENTS.map(|component| control.pid(component)).into();
    pids.push(control.supervisor_pid());
    assert!(pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    pids
}

#[tokio::test]
async fn a_service_account_token_is_who_it_says_and_no_more() -> Result<()> {
    let control = ControlPlane::shared().await?;
    control
        .kubectl(&["create", "namespace", "tokens"])
        .await?
        .success()?;
    control
        .kubectl(&["create", "serviceaccount", "app", "-n", "tokens"])
        .await?
        .success()?;
    let dir = tempfile::tempdir()?;
    let kubeconfig = control
        .service_account_kubeconfig("tokens", "app", dir.path())
        .await?;

    let whoami = [
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username}",
    ];
    let user = control.kubectl_as(&kubeconfig, &whoami).await?.success()?;
    assert_eq!(user, "system:serviceaccount:tokens:app");
    let refused = control.kubectl_as(&kubeconfig, &["get", "secrets"]).await?;
    assert!(
        !refused.status && refused.stderr.contains("Forbidden"),
        "{refused:?}"
    );

    let config: Value = serde_json::from_slice(&fs::read(&kubeconfig)?)?;
    let token = config["users"][0]["user"]["token"]
        .as_str()
        .context("a token")?;
    let decode = |part: &str| -> Result<Value> {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
    };
    let parts: Vec<_> = token.split('.').collect();
    let (header, claims) = (decode(parts[0])?, decode(parts[1])?);
    assert_eq!(claims["iss"], "https://kubernetes.default.svc");
    let lifetime = claims["exp"].as_u64().unwrap_or(0) - claims["iat"].as_u64().unwrap_or(0);
    assert_eq!(lifetime, 24 * 3600);
    let keys = control.jwks().await?;
    assert_eq!(keys["keys"][0]["kid"], header["kid"], "{keys}");

    // Whatever is written is in the audit log, with who wrote it.
    let audit = fs::read_to_string(control.audit_log())?;
    let created = audit
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .any(|event| {
            event["verb"] == "create"
                && event["objectRef"]["name"] == "app"
                && event["user"]["username"] == "admin"
        });
    assert!(
        created,
        "no audit event of a ServiceAccount that was created"
    );
    Ok(())
}

#[tokio::test]
async fn the_crd_and_both_clients_are_there() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let listed = control
        .kubectl(&["get", "tenantkmses", "--all-namespaces"])
        .await?;
    assert!(listed.status, "{listed:?}");
    let version = control
        .client_for(control.kubeconfig())
        .await?
        .apiserver_version()
        .await?;
    assert_eq!(
        (version.major.as_str(), version.minor.as_str()),
        ("1", "36")
    );
    assert!(control.helm(&["version"]).await?.success()?.contains("v4"));
    let refused = control
        .kubectl_stdin(&["apply", "-f", "-"], "kind: Nonsense")
        .await?;
    assert!(!refused.status && !refused.stderr.is_empty(), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn data_and_tokens_survive_killed_components() -> Result<()> {
    let control = ControlPlane::start().await?;
    let dir = tempfile::tempdir()?;
    let token = control
        .service_account_kubeconfig("default", "default", dir.path())
        .await?;
    let whoami = ["auth", "whoami"];
    let put = |name: &'static str| {
        let control = &control;
        let get = ["get", "configmap", name, "-o", "jsonpath={.data.key}"];
        async move {
            control
                .kubectl(&["create", "configmap", name, "--from-literal=key=value"])
                .await?;
            control.kubectl(&get).await?.success()
        }
    };
    assert_eq!(put("before").await?, "value");
    let before = all_pids(&control);

    control.stop(Component::ApiServer).await?;
    gone(&before[1..2]).await?;
    assert!(!control.kubectl(&["get", "configmaps"]).await?.status);
    assert!(
        control.stop(Component::ApiServer).await.is_err(),
        "killed a second time"
    );
    control.start_component(Component::ApiServer).await?;
    assert_ne!(control.pid(Component::ApiServer), before[1]);
    assert_eq!(put("before").await?, "value");
    control.kubectl_as(&token, &whoami).await?.success()?;

    control.stop(Component::Etcd).await?;
    let write = ["create", "configmap", "lost", "--request-timeout=2s"];
    assert!(
        !control.kubectl(&write).await?.status,
        "written without etcd"
    );
    control.start_component(Component::Etcd).await?;
    assert_eq!(put("before").await?, "value");

    // An API server without etcd is not waited for; it recovers with etcd.
    control.stop(Component::Etcd).await?;
    control.stop(Component::ApiServer).await?;
    let start = Instant::now();
    control.start_component(Component::ApiServer).await?;
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "waited for {:?}",
        start.elapsed()
    );
    control.start_component(Component::Etcd).await?;
    assert_eq!(put("before").await?, "value");
    assert_eq!(put("after").await?, "value");

    // The controller manager's absence shows, and ends.
    control.stop(Component::ControllerManager).await?;
    assert_eq!(control.pid(Component::ControllerManager), 0);
    control
        .kubectl(&["create", "namespace", "late"])
        .await?
        .success()?;
    let account = [
        "wait",
        "--for=create",
        "serviceaccount/default",
        "-n",
        "late",
    ];
    let soon = [&account[..], &["--timeout=2s"]].concat();
    assert!(
        !control.kubectl(&soon).await?.status,
        "made without a controller"
    );
    control
        .start_component(Component::ControllerManager)
        .await?;
    control
        .kubectl(&[&account[..], &["--timeout=60s"]].concat())
        .await?
        .success()?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_control_plane() -> Result<()> {
    let control = ControlPlane::start().await?;
    let (pids, dir) = (all_pids(&control), control.dir().to_owned());
    assert!(dir.join("etcd").is_dir());
    drop(control);
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
    assert!(!dir.exists(), "{}", dir.display());
    Ok(())
}

#[tokio::test]
async fn nothing_runs_on_when_the_supervisor_is_killed() -> Result<()> {
    let control = ControlPlane::start().await?;
    let (pids, dir) = (all_pids(&control), control.dir().to_owned());
    kill(control.supervisor_pid())?;
    gone(&pids).await?;
    assert!(control.stop(Component::Etcd).await.is_err());
    drop(control);
    fs::remove_dir_all(dir)?; // the killed supervisor could not
    Ok(())
}

/// A shell on the guard that says `ready` when it runs, and logs into `dir`.
async fn shell(dir: &Path, script: &str) -> Result<Guarded> {
    let script = format!("echo ready; {script}");
    let log = dir.join("log");
    let none = BTreeMap::new();
    let guarded = Guarded::spawn(Path::new("/bin/sh"), &["-c", &script], &none, &log)?;
    while !fs::read_to_string(&log)?.contains("ready") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(guarded)
}

const FOREVER: &str = "while :; do /bin/sleep 1; done";

#[tokio::test]
async fn a_guard_gives_output_and_code_of_its_process() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let guarded = shell(dir.path(), "echo out; echo err >&2; exit 7").await?;
    assert_eq!(guarded.ended(Duration::from_secs(10)).await?, 7);
    assert_eq!(fs::read_to_string(guarded.log())?, "ready\nout\nerr\n");
    assert!(
        guarded.signal(Signal::TERM).is_err(),
        "signalled after its end"
    );

    let guarded = shell(dir.path(), FOREVER).await?;
    guarded.signal(Signal::TERM)?;
    assert_eq!(guarded.ended(Duration::from_secs(10)).await?, 128 + 15);
    let guarded = shell(dir.path(), FOREVER).await?;
    guarded.kill().await?;
    assert_eq!(guarded.code(), Some(128 + 9));
    Ok(())
}

#[tokio::test]
async fn a_guarded_process_ends_with_its_owner_or_its_guard() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // The end of stdin, also for a process that stands still.
    let guarded = shell(dir.path(), FOREVER).await?;
    let pids = [guarded.pid(), guarded.guard_pid()];
    guarded.signal(Signal::STOP)?;
    assert!(pids.iter().all(|pid| alive(*pid)));
    drop(guarded);
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");

    let guarded = shell(dir.path(), FOREVER).await?;
    kill(guarded.guard_pid())?;
    gone(&[guarded.pid(), guarded.guard_pid()]).await?;
    Ok(())
}

#[test]
fn the_program_is_built_once() -> Result<()> {
    let program = harness::binaries()?;
    assert!(program.is_file());
    assert_eq!(program, harness::binaries()?);
    Ok(())
}
