//! Stored keys that do not open to what they were: never used, and the tenant seals when nothing
//! else has proved its key for proofTTL. Records that no operator writes are not used at all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ACTIVE, FAILED, OFTEN, RARELY, VERIFY, rewrite, two_versions, versions};
use crate::lifecycle::damage;
use crate::seen::{self, calls, patch, record, throughout, wait_row};
use crate::support::{SOON, World, manifest};

const OUTAGE: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Reconciling=True";
/// proofTTL, and what two cores need on top.
const TTL: Duration = Duration::from_secs(90);

fn active(body: &mut Value) -> Result<&mut Value> {
    let versions = body["keyring"]["versions"].as_array_mut();
    versions.and_then(|all| all.last_mut()).context("a version")
}

/// Another byte somewhere in the middle.
fn turned(blob: &Value) -> Result<Value> {
    let mut bytes = STANDARD.decode(blob.as_str().context("a blob")?)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(json!(STANDARD.encode(bytes)))
}

#[tokio::test]
async fn keys_that_open_to_something_else_are_never_used() -> Result<()> {
    let world = World::new("keys-corrupt").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    // All of one namespace, with one key.
    let names = ["acme", "globex", "initech", "umbrella", "hooli"];
    let mut whole = Vec::new();
    for name in names {
        env.apply(&manifest(name, OFTEN)).await?.success()?;
    }
    for name in names {
        wait_row(env, name, ACTIVE, 2 * SOON).await?;
        whole.push(record(env, name).await?.body);
    }
    operator.terminate().await?;
    let mut changed = whole.clone();
    let wrapped = |body: &Value| versions(body)[0]["wrapped"].clone();
    // Two have each other's blob: RSA-OAEP binds it to nobody.
    active(&mut changed[0])?["wrapped"] = wrapped(&whole[1]);
    active(&mut changed[1])?["wrapped"] = wrapped(&whole[0]);
    active(&mut changed[2])?["commitment"] = versions(&whole[0])[0]["commitment"].clone();
    active(&mut changed[3])?["wrapped"] = turned(&wrapped(&whole[3]))?;
    // And is newer than the backup that is to mend it.
    changed[3]["keyring"]["revision"] = json!(7);
    for (name, body) in names.iter().zip(&changed).take(4) {
        damage(env, name, &body.to_string()).await?;
    }

    let _operator = world.operator().await?;
    for name in &names[..4] {
        let sealed = wait_row(env, name, OUTAGE, TTL).await?;
        ensure!(
            seen::reason(&sealed, "Sealed") == "KeyringCorrupt",
            "{name}: {}",
            seen::reason(&sealed, "Sealed")
        );
        let said = sealed["status"]["lastVerifyError"]["message"].to_string();
        ensure!(said.contains("does not open to what it was"), "{said}");
        ensure!(said.contains("tenant-kms keyring import"), "{said}");
    }
    for (name, changed) in names.iter().zip(&changed).take(4) {
        let now = record(env, name).await?.body;
        ensure!(
            now["keyring"] == changed["keyring"],
            "{name}: nothing is mended by itself"
        );
        ensure!(now["sealEpoch"] == 1, "{name}: {}", now["sealEpoch"]);
    }
    // The fifth one, with the same key, has nothing to do with it.
    let fifth = env.tenant(names[4]).await?;
    ensure!(seen::row(&fifth) == ACTIVE, "{}", seen::row(&fifth));

    // Restored, and asked to look.
    for (name, whole) in names.iter().zip(&whole).take(4) {
        let keyring = whole["keyring"].clone();
        rewrite(env, name, |body| body["keyring"] = keyring).await?;
        let ask = json!({ "metadata": { "annotations": { VERIFY: "restored" } } });
        patch(env, name, false, "merge", &ask.to_string()).await?;
    }
    for (name, whole) in names.iter().zip(&whole).take(4) {
        wait_row(env, name, ACTIVE, TTL).await?;
        ensure!(record(env, name).await?.body["keyring"] == whole["keyring"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_keyring_that_no_operator_writes_is_not_used() -> Result<()> {
    let world = World::new("keys-unsound").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    let whole = two_versions(&world, RARELY).await?;
    operator.terminate().await?;
    // The old version is to be the active one again.
    rewrite(env, "acme", |body| {
        let versions = &mut body["keyring"]["versions"];
        let retired = versions[0]["retired"].clone();
        versions[0]["state"] = json!("active");
        versions[1]["state"] = json!("retired");
        versions[1]["retired"] = retired;
    })
    .await?;
    let swapped = record(env, "acme").await?;
    let counted = calls(env);
    let _operator = world.operator().await?;
    let refused = wait_row(env, "acme", FAILED, SOON).await?;
    ensure!(
        seen::reason(&refused, "Ready") == "KeyringCorrupt",
        "{refused:#}"
    );
    throughout(Duration::from_secs(5), async || {
        ensure!(calls(env) == counted && record(env, "acme").await? == swapped);
        Ok(())
    })
    .await?;
    damage(env, "acme", &whole.to_string()).await?;
    wait_row(env, "acme", ACTIVE, 3 * SOON).await.map(drop)
}
