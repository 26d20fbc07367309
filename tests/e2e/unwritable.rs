//! A record that cannot be written stops what would rest on it, and nothing else.

use std::time::{Duration, Instant};

use anyhow::Result;
use fakecloud::Call;
use serde_json::json;

use crate::faults::keyring_kills::rights;
use crate::lifecycle::ACTIVE;
use crate::seen::{patch, wait_row};
use crate::support::{SOON, World};

/// Takes the right to change records away, or gives it back.
pub async fn may_update(world: &World, may: bool) -> Result<()> {
    rights::may(&world.env, "secrets", "update", may).await
}

#[tokio::test]
async fn a_no_is_obeyed_also_while_a_new_spec_cannot_be_recorded() -> Result<()> {
    let world = World::new("unwritable").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;

    may_update(&world, false).await?;
    let new = world.vault.create_key("another-key");
    let key = json!({ "spec": { "kmsKeyRef": new.url() } }).to_string();
    patch(env, "acme", false, "merge", &key).await?;
    operator
        .wait_log("the API server did not take a change", SOON)
        .await?;
    world.key.disable();
    let sealed = env
        .wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
        .await?;
    assert!(sealed["status"]["sealedSince"].is_string(), "{sealed:#}");

    may_update(&world, true).await?;
    wait_row(env, "acme", ACTIVE, 4 * SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_proof_that_grew_old_before_it_could_be_recorded_puts_nothing_in_force() -> Result<()> {
    let world = World::new("overdue").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;

    may_update(&world, false).await?;
    let new = world.vault.create_key("another-key");
    let started = Instant::now();
    let key = json!({ "spec": { "kmsKeyRef": new.url() } }).to_string();
    patch(env, "acme", false, "merge", &key).await?;
    let wrapped = |call: &Call| call.operation == "wrapkey" && call.path.contains("another-key");
    env.cloud.wait_for_call(wrapped, SOON).await?;
    new.disable();
    // The fault is a duration: longer than the proof may be relied on.
    tokio::time::sleep_until((started + Duration::from_secs(65)).into()).await;
    may_update(&world, true).await?;
    let refused = env
        .wait_condition(
            "acme",
            "ConfigAccepted",
            "False",
            Some("KeyDisabled"),
            4 * SOON,
        )
        .await?;
    let active = refused["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let active = active.filter(|one| one["type"] == "Active" && one["status"] == "True");
    assert_eq!(
        active.count(),
        1,
        "the verified spec stays in force: {refused:#}"
    );
    Ok(())
}
