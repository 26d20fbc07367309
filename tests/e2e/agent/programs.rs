//! The programs that people copy, examples/agent.rs and examples/curl.sh, with a real operator.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Orders, repository};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{SOON, Scene, rotate};
use crate::seen::patch;

/// Sealed, the workload asks again at least every six rounds.
const AGAIN: Duration = Duration::from_mins(1);

fn undisturbed(orders: &Orders) -> Result<()> {
    for event in orders.since() {
        let name = event["event"].as_str().unwrap_or_default();
        ensure!(["started", "written", "read"].contains(&name), "{event}");
    }
    Ok(())
}

/// What it wrote before is in what it reads after, through everything that happens to a workload.
#[tokio::test]
async fn the_workload_lives_through_seal_rotation_and_restart() -> Result<()> {
    let Scene {
        world,
        operator,
        agent,
        app,
    } = Scene::new("orders").await?;
    let env = &world.env;
    let orders = Orders::start(env, &app.tenant, &agent.url, &app.token).await?;
    let first = orders.next("written", SOON).await?["key_id"].clone();
    orders.next("read", SOON).await?;
    let (name, bytes) = orders.records()?.first().context("a record")?.clone();
    ensure!(bytes.starts_with(b"TKM\x01"), "{name} is not encrypted");

    // The customer's key and so the master key rotate, and the token does: nobody notices.
    rotate(&world).await?;
    orders.mount(&env.token("app", None).await?)?;
    let written = |event: &serde_json::Value| event["event"] == "written";
    let next = orders.first(SOON, |event| written(event) && event["key_id"] != first);
    next.await?;
    orders.next("read", SOON).await?;
    undisturbed(&orders)?;

    world.key.disable();
    let sealed = orders.next("sealed", SOON).await?;
    let why = sealed["error"].as_str().unwrap_or_default();
    ensure!(
        why.contains("tenant_sealed") && why.contains("KeyDisabled"),
        "{sealed}"
    );
    let kept = orders.records()?;
    env.wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
        .await?;
    ensure!(orders.since().is_empty(), "{:?}", orders.since());

    world.key.enable();
    let ask = json!({ "metadata": { "annotations": {
        "tenantkms.dev/unseal-requested-at": "now" } } });
    patch(env, "acme", false, "merge", &ask.to_string()).await?;
    // The round that succeeds first reads all that was there, and says so.
    let read = orders.next("read", AGAIN).await?["records"].clone();
    let unsealed = orders.next("unsealed", SOON).await?;
    ensure!(
        unsealed["records"] == read && read == (kept.len() + 1).min(20),
        "{unsealed}"
    );

    operator.terminate().await?;
    orders.next("unavailable", SOON).await?;
    let address = agent.url.trim_start_matches("https://");
    let options = env.agent_options().option("--listen", address);
    let _next = env.spawn(options).await?;
    orders.next("recovered", AGAIN).await?;
    ensure!(orders.terminate().await? == 0);
    orders.next("stopped", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn the_script_encrypts_and_decrypts_or_says_why_not() -> Result<()> {
    let scene = &Scene::new("curl").await?;
    let folder = tempfile::tempdir()?;
    let (token, ca) = (folder.path().join("token"), folder.path().join("ca.crt"));
    std::fs::write(&token, &scene.app.token)?;
    std::fs::write(&ca, scene.world.env.ca().await?)?;
    let run = async |tenant: &str, input: &[u8]| {
        let mut child = Command::new("sh")
            .arg(repository().join("examples/curl.sh"))
            .env("TENANT_KMS_URL", &scene.agent.url)
            .env("TENANT", tenant)
            .env("TOKEN_FILE", &token)
            .env("CA_FILE", &ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("no input")?;
        let feed = async {
            stdin.write_all(input).await?;
            drop(stdin);
            Ok::<_, anyhow::Error>(())
        };
        let (written, ran) = tokio::join!(feed, child.wait_with_output());
        written?;
        Ok::<_, anyhow::Error>(ran?)
    };
    let everything: Vec<u8> = (0..=u8::MAX).collect();
    let most = everything.repeat(256);
    for input in [&b"a record"[..], b"", &everything, &most] {
        let ran = run(&scene.app.tenant, input).await?;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        ensure!(ran.status.success(), "{said}");
        ensure!(ran.stdout == input, "{} bytes", input.len());
        ensure!(said.starts_with("ciphertext: VEtNA"), "{said}");
    }
    let ran = run(&scene.app.tenant.replace("acme", "birch"), b"a record").await?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(!ran.status.success() && ran.stdout.is_empty(), "{said}");
    ensure!(said.contains(r#""type":"forbidden""#), "{said}");
    ensure!(said.contains("kubectl create role"), "{said}");
    Ok(())
}
