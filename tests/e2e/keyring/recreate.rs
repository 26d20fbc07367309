//! An object that was deleted and created again: with the tenant's former key it has its master keys
//! again, and with another key it gets nothing, for whoever creates objects may not move keys.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{ACTIVE, RARELY, commitments, ids, open, spec, two_versions};
use crate::faults::film::{condition, is};
use crate::seen::{self, record, throughout, wait_row};
use crate::support::{SOON, World, manifest};

#[tokio::test]
async fn a_recreated_object_never_moves_the_keys_it_finds() -> Result<()> {
    let world = World::new("keys-recreated").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    let before = two_versions(&world, RARELY).await?;
    let other = world.vault.create_key("another-key");
    env.kubectl(&["delete", "tkms", "acme"]).await?.success()?;
    let stored = record(env, "acme").await?;

    let elsewhere = manifest("acme", RARELY).replace("tenant-wrapping-key", "another-key");
    env.apply(&elsewhere).await?.success()?;
    let refused = |object: &serde_json::Value| {
        seen::reason(object, "ConfigAccepted") == "NotAllowed"
            && is(object, "ConfigAccepted", "False")
            && is(object, "Ready", "False")
    };
    let object = env.wait("acme", "refused", SOON, refused).await?;
    let said = condition(&object, "ConfigAccepted").context("said")?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(message.contains("created anew"), "{message}");
    // Nobody's session of before is good for another object; all else stays as it was.
    let mut kept = stored.body.clone();
    kept["sealEpoch"] = 1.into();
    throughout(Duration::from_secs(6), async || {
        let object = env.tenant("acme").await?;
        ensure!(refused(&object), "{}", seen::row(&object));
        ensure!(record(env, "acme").await?.body == kept);
        Ok(())
    })
    .await?;

    // With the key it had.
    env.kubectl(&["delete", "tkms", "acme"]).await?.success()?;
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    let again = record(env, "acme").await?.body;
    ensure!(again["keyring"] == before["keyring"] && again["tenantUid"] == before["tenantUid"]);

    // From now on it may move.
    spec(env, json!({ "kmsKeyRef": other.url() })).await?;
    env.wait("acme", "moved", SOON, |object| {
        seen::row(object) == ACTIVE && object["status"]["observedGeneration"] == 2
    })
    .await?;
    let moved = record(env, "acme").await?.body;
    ensure!(ids(&moved) == ids(&before) && commitments(&moved) == commitments(&before));
    ensure!(open(&other, &moved)? == open(&world.key, &before)?);
    Ok(())
}
