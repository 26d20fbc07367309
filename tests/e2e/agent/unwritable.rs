//! A seal that is over before it could be put on record ends the sessions of before all the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::replicas::Pair;
use super::{QUICK, SOON};
use crate::seen::{eventually, patch, throughout};
use crate::unwritable::may_update;

#[tokio::test]
async fn no_session_survives_a_seal_that_cannot_be_recorded() -> Result<()> {
    let pair = &Pair::new("unrecorded", QUICK).await?;
    let world = &pair.scene.world;
    let env = &world.env;
    ensure!(pair.read().await? == "ok");

    may_update(world, false).await?;
    world.key.disable();
    env.wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
        .await?;
    eventually("the replica to see it", SOON, async || {
        Ok(pair.read().await? == "tenant_sealed")
    })
    .await?;
    world.key.enable();
    let unseal = json!({ "metadata": { "annotations": {
        "tenantkms.dev/unseal-requested-at": "now" } } });
    patch(env, "acme", false, "merge", &unseal.to_string()).await?;
    pair.scene.operator.wait_log("unsealed", SOON).await?;
    // For longer than it takes to hear of a status and to prove the key.
    throughout(Duration::from_secs(10), async || {
        let read = pair.read().await?;
        ensure!(read == "tenant_sealed", "{read}");
        Ok(())
    })
    .await?;
    let told = env.kubectl(&["get", "events", "-o", "yaml"]).await?;
    ensure!(told.success()?.contains("The operator lacks a right"));

    may_update(world, true).await?;
    eventually("the seal to be on record", 2 * SOON, async || {
        Ok(pair.read().await? == "session_invalid")
    })
    .await?;
    let new = pair.app().begin(&pair.agent).await?;
    ensure!(pair.app().open(&pair.agent, &new, &pair.ciphertext).await? == "hello");
    Ok(())
}
