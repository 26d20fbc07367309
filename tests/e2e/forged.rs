//! A status that others wiped, forged or restored from an old copy is written over, and nothing is
//! done again for it: no call, no change of the record, no new seal epoch.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::faults::kills::end_lease;
use crate::seen::{calls, eventually, patch, record, throughout, wait_row};
use crate::support::{SOON, World};

const ACTIVE: &str = "Active: Ready=True Active=True Sealed=False ConfigAccepted=True";
const SEALED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Stalled=True";
/// So long that no check is due within a test.
const RARELY: &str = "{ interval: 150s, proofTTL: 5m }";

fn condition(type_: &str, status: &str, time: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": "Forged", "message": "forged",
        "lastTransitionTime": time, "observedGeneration": 1,
    })
}

/// What an attacker or a restored backup may leave: a kind of patch and the patch.
fn forgeries() -> Vec<(&'static str, String)> {
    let past = "2001-01-01T00:00:00Z";
    let all = |active: &str, sealed: &str, time: &str| {
        json!({ "status": { "conditions": [
            condition("Ready", active, time), condition("Active", active, time),
            condition("Sealed", sealed, time), condition("ConfigAccepted", "True", time),
        ] } })
    };
    let mut sealed = all("False", "True", past);
    sealed["status"]["phase"] = json!("Sealed");
    sealed["status"]["sealedSince"] = json!(past);
    let mut active = all("True", "False", past);
    active["status"]["phase"] = json!("Active");
    active["status"]["sealedSince"] = Value::Null;
    active["status"]["lastVerifyError"] = Value::Null;
    let extra = json!({ "status": { "conditions": [
        condition("Ready", "True", past), condition("TrustMe", "True", past),
    ] } });
    let words = json!({ "status": {
        "identity": "nobody", "kekVersion": "forged", "observedGeneration": 9_999,
        "lastVerifiedTime": "2999-01-01T00:00:00Z", "sealedSince": "2999-01-01T00:00:00Z",
        "effective": { "interval": "1s", "proofTTL": "999h", "deletionPolicy": "Erase" },
        "handledRequests": { "verifyRequestedAt": "forged", "unsealRequestedAt": "forged" },
        "lastVerifyError": { "reason": "Forged", "message": "forged", "time": past },
    } });
    // The API server takes these for times; other parsers do not.
    let odd = "2024-01-01T00:00:00+99:99";
    let times = json!({ "status": { "lastVerifiedTime": odd, "sealedSince": odd } });
    let future = all("True", "False", "2999-01-01T00:00:00Z");
    let beside = json!([{
        "op": "add", "path": "/status/conditions/-", "value": condition("TrustMe", "True", past),
    }]);
    let reason =
        json!([{ "op": "replace", "path": "/status/conditions/0/reason", "value": "Forged" }]);
    vec![
        ("json", r#"[{"op":"remove","path":"/status"}]"#.to_owned()),
        (
            "merge",
            r#"{"status":{"conditions":null,"phase":null}}"#.to_owned(),
        ),
        ("merge", r#"{"status":{"phase":"Foo"}}"#.to_owned()),
        ("merge", sealed.to_string()),
        ("merge", active.to_string()),
        ("merge", extra.to_string()),
        ("json", beside.to_string()),
        ("json", reason.to_string()),
        ("merge", words.to_string()),
        ("merge", future.to_string()),
        ("merge", times.to_string()),
        ("merge", all("False", "False", odd).to_string()),
    ]
}

/// Forges the status in every way; it must come back exactly as it was.
async fn forge_everything(world: &World, row: &str) -> Result<()> {
    let honest = wait_row(&world.env, "acme", row, SOON).await?["status"].clone();
    for (kind, change) in forgeries() {
        patch(&world.env, "acme", true, kind, &change).await?;
        let corrected = |object: &Value| object["status"] == honest;
        let what = format!("corrected: {change}");
        world.env.wait("acme", &what, SOON, corrected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_active_tenant_stays_active_whatever_its_status_says() -> Result<()> {
    let world = World::new("forged-active").await?;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let stored = record(&world.env, "acme").await?;
    let counted = calls(&world.env);
    forge_everything(&world, ACTIVE).await?;
    // What was told to be sealed is proved again before it is used, with one call for each such lie.
    throughout(Duration::from_secs(3), async || {
        let now = calls(&world.env);
        ensure!(
            now.tokens == counted.tokens
                && now.wraps == counted.wraps
                && now.unwraps <= counted.unwraps + 4,
            "{now:?} of {counted:?}"
        );
        Ok(())
    })
    .await?;
    ensure!(record(&world.env, "acme").await? == stored);
    Ok(())
}

#[tokio::test]
async fn a_sealed_tenant_stays_sealed_whatever_its_status_says() -> Result<()> {
    let world = World::new("forged-sealed").await?;
    let _operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;
    world.key.disable();
    wait_row(&world.env, "acme", SEALED, SOON).await?;
    let stored = record(&world.env, "acme").await?;
    let counted = calls(&world.env);
    let begun = std::time::Instant::now();
    forge_everything(&world, SEALED).await?;
    // A sealed tenant is tried every 27 to 30 s, each time with a fresh token.
    let due = usize::try_from(begun.elapsed().as_secs() / 27)? + 1;
    let now = calls(&world.env);
    ensure!(
        now.unwraps - counted.unwraps <= due,
        "{} tries, {due} due",
        now.unwraps - counted.unwraps
    );
    ensure!(now.tokens - counted.tokens <= due && now.wraps == counted.wraps);
    ensure!(record(&world.env, "acme").await? == stored);
    ensure!(
        stored.body["sealEpoch"] == 1,
        "{}",
        stored.body["sealEpoch"]
    );
    Ok(())
}

#[tokio::test]
async fn an_old_copy_restored_while_the_operator_is_down_changes_nothing() -> Result<()> {
    let world = World::new("forged-down").await?;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let active = world.env.tenant("acme").await?["status"].clone();
    world.key.disable();
    let ask = r#"{"metadata":{"annotations":{"tenantkms.dev/verify-requested-at":"1"}}}"#;
    patch(&world.env, "acme", false, "merge", ask).await?;
    let sealed = wait_row(&world.env, "acme", SEALED, SOON).await?["status"].clone();
    eventually("the request is on record", SOON, async || {
        Ok(record(&world.env, "acme").await?.body["handled"]["verifyRequestedAt"] == "1")
    })
    .await?;
    let stored = record(&world.env, "acme").await?;
    let restore = |copy: &Value| json!([{ "op": "replace", "path": "/status", "value": copy }]);

    // Active while sealed: with the operator running, then while it is down.
    patch(
        &world.env,
        "acme",
        true,
        "json",
        &restore(&active).to_string(),
    )
    .await?;
    let back = wait_row(&world.env, "acme", SEALED, SOON).await?;
    ensure!(back["status"]["sealedSince"] == sealed["sealedSince"]);
    operator.kill().await?;
    end_lease(&world.env).await?;
    patch(
        &world.env,
        "acme",
        true,
        "json",
        &restore(&active).to_string(),
    )
    .await?;
    let counted = calls(&world.env);
    let operator = world.operator().await?;
    let back = wait_row(&world.env, "acme", SEALED, SOON).await?;
    ensure!(back["status"]["sealedSince"] == sealed["sealedSince"]);
    ensure!(back["status"]["handledRequests"] == sealed["handledRequests"]);
    let now = calls(&world.env);
    // A denial and its confirmation: as after any start.
    ensure!(
        now.unwraps - counted.unwraps == 2 && now.wraps == counted.wraps,
        "{now:?} {counted:?}"
    );
    ensure!(
        record(&world.env, "acme").await? == stored,
        "no new epoch, no write"
    );

    // Sealed while active.
    world.key.enable();
    let ask = r#"{"metadata":{"annotations":{"tenantkms.dev/unseal-requested-at":"2"}}}"#;
    patch(&world.env, "acme", false, "merge", ask).await?;
    wait_row(&world.env, "acme", ACTIVE, SOON).await?;
    eventually("the request is on record", SOON, async || {
        Ok(record(&world.env, "acme").await?.body["handled"]["unsealRequestedAt"] == "2")
    })
    .await?;
    let stored = record(&world.env, "acme").await?;
    operator.kill().await?;
    end_lease(&world.env).await?;
    patch(
        &world.env,
        "acme",
        true,
        "json",
        &restore(&sealed).to_string(),
    )
    .await?;
    let counted = calls(&world.env);
    let _operator = world.operator().await?;
    let back = wait_row(&world.env, "acme", ACTIVE, SOON).await?;
    ensure!(back["status"]["sealedSince"].is_null() && back["status"]["lastVerifyError"].is_null());
    let now = calls(&world.env);
    ensure!(
        now.tokens == counted.tokens + 1
            && now.wraps == counted.wraps
            && now.unwraps == counted.unwraps + 1
    );
    ensure!(record(&world.env, "acme").await? == stored);
    ensure!(stored.body["sealEpoch"] == 1);
    Ok(())
}
