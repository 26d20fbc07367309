//! Status is a report: every row of the design's table as the API server shows it, and whatever
//! others write into it is written over without anything being done again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use fakecloud::{Effect, Fault, Scope};
use serde_json::{Value, json};

use crate::argo::expect_health;
use crate::faults::outage::LATEST;
use crate::faults::town::last_proof;
use crate::seen::{self, calls, eventually, patch, record, suspend, throughout, wait_row};
use crate::support::{SOON, World, manifest};

const ACTIVE: &str = "Active: Ready=True Active=True Sealed=False ConfigAccepted=True";
const SEALED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Stalled=True";
const OUTAGE: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Reconciling=True";
const OPEN: &str =
    "Pending: Ready=Unknown Active=False Sealed=False ConfigAccepted=Unknown Reconciling=True";
const FAILED: &str =
    "Pending: Ready=False Active=False Sealed=False ConfigAccepted=False Stalled=True";
const REFUSED: &str =
    "Active: Ready=False Active=True Sealed=False ConfigAccepted=False Stalled=True";
const UNDECIDED: &str =
    "Active: Ready=Unknown Active=True Sealed=False ConfigAccepted=Unknown Reconciling=True";
/// So long that no check is due within a test.
const RARELY: &str = "{ interval: 150s, proofTTL: 5m }";
const OFTEN: &str = "{ interval: 5s, proofTTL: 1m }";

fn hanging(world: &World) -> u64 {
    world
        .env
        .cloud
        .fault(Fault::on(&world.vault.host(), Effect::Hang))
}

fn observed(object: &Value) -> &Value {
    &object["status"]["observedGeneration"]
}

/// The columns of `kubectl get tkms`, without the two that are ages.
async fn columns(world: &World, wide: bool) -> Result<String> {
    let mut args = vec!["get", "tkms", "acme"];
    if wide {
        args.extend(["-o", "wide"]);
    }
    let text = world.env.kubectl(&args).await?.success()?;
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (heads, cells) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let mut expected = vec!["NAME", "PROVIDER", "PHASE", "REASON", "SINCE", "AGE"];
    if wide {
        expected.extend(["KEY", "IDENTITY"]);
    }
    ensure!(heads == expected, "{heads:?}");
    let aged = |cell: &str| {
        cell.ends_with(['s', 'm', 'h']) && cell.starts_with(|c: char| c.is_ascii_digit())
    };
    ensure!(
        cells.len() >= 6 && aged(cells[4]) && aged(cells[5]),
        "SINCE and AGE: {cells:?}"
    );
    Ok([&cells[..4], &cells[6..]].concat().join(" "))
}

/// `kubectl wait --for=condition=Ready`: whether it came true.
async fn waits_for_ready(world: &World, timeout: &str) -> Result<bool> {
    let timeout = format!("--timeout={timeout}");
    let args = ["wait", "--for=condition=Ready", &timeout, "tkms/acme"];
    Ok(world.env.kubectl(&args).await?.status)
}

#[tokio::test]
async fn a_first_spec_is_open_then_active_and_can_be_suspended() -> Result<()> {
    let world = World::new("rows-first").await?;
    let _operator = world.operator().await?;

    let fault = hanging(&world);
    world
        .env
        .apply(&manifest("acme", RARELY))
        .await?
        .success()?;
    let open = wait_row(&world.env, "acme", OPEN, SOON).await?;
    expect_health(&open, "Progressing")?;
    ensure!(*observed(&open) == -1, "{}", observed(&open));
    ensure!(columns(&world, false).await? == "acme azure Pending Verifying");
    ensure!(
        !waits_for_ready(&world, "1s").await?,
        "ready before the first proof"
    );

    world.env.cloud.clear_fault(fault);
    ensure!(
        waits_for_ready(&world, "60s").await?,
        "not ready after the fault"
    );
    let active = wait_row(&world.env, "acme", ACTIVE, SOON).await?;
    expect_health(&active, "Healthy")?;
    ensure!(*observed(&active) == 1);
    ensure!(active["status"]["kekVersion"] == world.key.version().as_str());
    ensure!(
        active["status"]["effective"]["interval"] == "2m30s",
        "{}",
        active["status"]["effective"]
    );
    let wide = columns(&world, true).await?;
    let key = "https://acme-kv.vault.azure.net/keys/tenant-wrapping-key";
    ensure!(
        wide.starts_with(&format!("acme azure Active Verified {key} ")),
        "{wide}"
    );
    ensure!(
        wide.contains(crate::support::CLIENT),
        "who was used: {wide}"
    );

    // Suspended while Active: no call is made any more, and resuming needs a proof.
    suspend(&world.env, "acme", true).await?;
    let row = "Suspended: Ready=False Active=False Sealed=False ConfigAccepted=True";
    let suspended = wait_row(&world.env, "acme", row, SOON).await?;
    expect_health(&suspended, "Suspended")?;
    ensure!(*observed(&suspended) == 2);
    ensure!(columns(&world, false).await? == "acme azure Suspended Suspended");
    let counted = calls(&world.env);
    let ask = r#"{"metadata":{"annotations":{"tenantkms.dev/verify-requested-at":"now"}}}"#;
    patch(&world.env, "acme", false, "merge", ask).await?;
    throughout(Duration::from_secs(5), async || {
        ensure!(calls(&world.env) == counted, "a call while suspended");
        Ok(())
    })
    .await?;
    suspend(&world.env, "acme", false).await?;
    let active = wait_row(&world.env, "acme", ACTIVE, SOON).await?;
    ensure!(*observed(&active) == 3);
    ensure!(
        calls(&world.env).unwraps == counted.unwraps + 1,
        "resumed by one proof"
    );
    Ok(())
}

#[tokio::test]
async fn a_first_probe_that_fails_is_pending_and_not_sealed() -> Result<()> {
    let world = World::new("rows-failed").await?;
    let _operator = world.operator().await?;
    world.vault.revoke(world.app.principal());
    world.env.apply(&manifest("acme", "")).await?.success()?;
    let failed = wait_row(&world.env, "acme", FAILED, SOON).await?;
    expect_health(&failed, "Degraded")?;
    ensure!(
        *observed(&failed) == 1,
        "a refusal is a decision: {}",
        observed(&failed)
    );
    ensure!(failed["status"]["sealedSince"].is_null());
    ensure!(failed["status"]["lastVerifyError"]["reason"] == "AccessDenied");
    ensure!(columns(&world, false).await? == "acme azure Pending AccessDenied");
    ensure!(!waits_for_ready(&world, "1s").await?);
    let stored = record(&world.env, "acme").await?.body;
    ensure!(
        stored["claim"].is_null() && stored["sealEpoch"] == 0,
        "{stored}"
    );

    // It is tried again by itself, every 30 s.
    world.vault.grant(world.app.principal(), Scope::Vault);
    wait_row(&world.env, "acme", ACTIVE, Duration::from_secs(45)).await?;
    Ok(())
}

#[tokio::test]
async fn a_new_spec_is_refused_or_undecided_while_the_verified_one_stays() -> Result<()> {
    let world = World::new("rows-new").await?;
    let _operator = world.operator().await?;
    world.active(OFTEN).await?;
    let before = record(&world.env, "acme").await?;

    let spec = |key: &str| {
        let key = format!("{}/keys/{key}", world.vault.url());
        json!({ "spec": { "kmsKeyRef": key } }).to_string()
    };
    patch(&world.env, "acme", false, "merge", &spec("no-such-key")).await?;
    let refused = wait_row(&world.env, "acme", REFUSED, SOON).await?;
    expect_health(&refused, "Degraded")?;
    ensure!(seen::reason(&refused, "Ready") == "KeyNotFound");
    ensure!(seen::reason(&refused, "Active") == "Verified");
    ensure!(*observed(&refused) == 2, "{}", observed(&refused));
    ensure!(columns(&world, false).await? == "acme azure Active KeyNotFound");

    // Another vault that never answers: undecided, and the old spec goes on being proved.
    let directory = world.env.cloud.directory(crate::support::DIRECTORY);
    let other = world.env.cloud.vault("acme-other", &directory);
    other.create_key("tenant-wrapping-key");
    other.grant(world.app.principal(), Scope::Vault);
    let fault = world
        .env
        .cloud
        .fault(Fault::on(&other.host(), Effect::Hang));
    let key =
        json!({ "spec": { "kmsKeyRef": format!("{}/keys/tenant-wrapping-key", other.url()) } });
    patch(&world.env, "acme", false, "merge", &key.to_string()).await?;
    let undecided = wait_row(&world.env, "acme", UNDECIDED, SOON).await?;
    expect_health(&undecided, "Progressing")?;
    ensure!(
        *observed(&undecided) == 2,
        "not decided yet: {}",
        observed(&undecided)
    );
    ensure!(!waits_for_ready(&world, "1s").await?);
    let old = world.env.cloud.count(&world.vault.host(), "unwrapkey");
    eventually("the old spec is proved meanwhile", SOON, async || {
        Ok(world.env.cloud.count(&world.vault.host(), "unwrapkey") > old)
    })
    .await?;
    // Also after its first attempt has ended without an answer.
    world
        .env
        .wait_condition(
            "acme",
            "ConfigAccepted",
            "Unknown",
            Some("Unreachable"),
            SOON,
        )
        .await?;
    ensure!(seen::row(&world.env.tenant("acme").await?) == UNDECIDED);
    ensure!(
        record(&world.env, "acme").await? == before,
        "nothing of it is on record"
    );

    world.env.cloud.clear_fault(fault);
    let active = wait_row(&world.env, "acme", ACTIVE, 3 * SOON).await?;
    ensure!(*observed(&active) == 3);
    let stored = record(&world.env, "acme").await?.body;
    ensure!(
        stored["claim"]
            .as_str()
            .is_some_and(|claim| claim.contains("acme-other")),
        "{stored}"
    );
    Ok(())
}

#[tokio::test]
async fn sealed_by_denial_and_suspended_meanwhile_stays_sealed() -> Result<()> {
    let world = World::new("rows-denial").await?;
    let _operator = world.operator().await?;
    world.active(OFTEN).await?;
    world.key.disable();
    let sealed = wait_row(&world.env, "acme", SEALED, SOON).await?;
    expect_health(&sealed, "Degraded")?;
    ensure!(columns(&world, false).await? == "acme azure Sealed KeyDisabled");
    ensure!(!waits_for_ready(&world, "1s").await?);
    let since = sealed["status"]["sealedSince"].clone();
    ensure!(since.is_string());

    suspend(&world.env, "acme", true).await?;
    let row = "Suspended: Ready=False Active=False Sealed=True ConfigAccepted=True";
    let suspended = wait_row(&world.env, "acme", row, SOON).await?;
    expect_health(&suspended, "Suspended")?;
    ensure!(
        suspended["status"]["sealedSince"] == since,
        "the seal is kept"
    );
    world.key.enable();
    let counted = calls(&world.env);
    patch(
        &world.env,
        "acme",
        false,
        "merge",
        r#"{"spec":{"suspend":null}}"#,
    )
    .await?;
    let active = wait_row(&world.env, "acme", ACTIVE, SOON).await?;
    ensure!(
        calls(&world.env).unwraps > counted.unwraps && active["status"]["sealedSince"].is_null()
    );
    Ok(())
}

#[tokio::test]
async fn sealed_by_an_outage_once_the_proof_is_too_old() -> Result<()> {
    let world = World::new("rows-outage").await?;
    let operator = world.operator().await?;
    world.active(OFTEN).await?;
    hanging(&world);
    let sealed = wait_row(&world.env, "acme", OUTAGE, Duration::from_secs(80)).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let age = now - last_proof(&operator, "acme").await?;
    ensure!(
        (60.0..LATEST).contains(&age),
        "sealed {age:.3} s after the last proof"
    );
    expect_health(&sealed, "Degraded")?;
    ensure!(seen::reason(&sealed, "Sealed") == "Unreachable");
    ensure!(columns(&world, false).await? == "acme azure Sealed Unreachable");
    world.env.cloud.clear_faults();
    wait_row(&world.env, "acme", ACTIVE, Duration::from_secs(50)).await?;
    Ok(())
}
