//! Records of the previous format, and records that have lost their master keys.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{ACTIVE, FAILED, RARELY, keys_are, open, rewrite};
use crate::faults::film::Film;
use crate::lifecycle::damage;
use crate::seen::{self, calls, record, throughout, wait_row};
use crate::support::{SOON, World};

fn strip(body: &mut Value, format: u32) {
    body["format"] = json!(format);
    if let Some(fields) = body.as_object_mut() {
        fields.remove("keyring");
    }
}

#[tokio::test]
async fn a_record_without_master_keys_gets_its_first_one_by_itself() -> Result<()> {
    let world = World::new("keys-upgrade").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    operator.terminate().await?;
    rewrite(env, "acme", |body| strip(body, 1)).await?;
    let before = record(env, "acme").await?.body;
    ensure!(before["format"] == 1 && before["keyring"].is_null());
    // What the previous version said of it.
    let change = r#"{"status":{"masterKeys":null}}"#;
    seen::patch(env, "acme", true, "merge", change).await?;
    let film = Film::start(env, "acme").await?;
    let _operator = world.operator().await?;
    let after = keys_are(env, "1 active", SOON).await?;
    ensure!(after["format"] == 2 && open(&world.key, &after)?.len() == 1);
    ensure!(after["tenantUid"] == before["tenantUid"] && after["claim"] == before["claim"]);
    wait_row(env, "acme", ACTIVE, SOON).await?;
    film.always_active()
}

#[tokio::test]
async fn a_record_that_has_lost_its_master_keys_gets_no_others() -> Result<()> {
    let world = World::new("keys-missing").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    operator.terminate().await?;
    let whole = record(env, "acme").await?.body;
    rewrite(env, "acme", |body| strip(body, 2)).await?;
    let stripped = record(env, "acme").await?;
    let counted = calls(env);
    let _operator = world.operator().await?;
    let missing = wait_row(env, "acme", FAILED, SOON).await?;
    ensure!(
        seen::reason(&missing, "Ready") == "KeyringMissing",
        "{missing:#}"
    );
    throughout(Duration::from_secs(5), async || {
        ensure!(calls(env) == counted, "{:?}", calls(env));
        ensure!(record(env, "acme").await? == stripped, "nothing is minted");
        Ok(())
    })
    .await?;
    damage(env, "acme", &whole.to_string()).await?;
    wait_row(env, "acme", ACTIVE, 3 * SOON).await?;
    let back = record(env, "acme").await?.body;
    ensure!(back["keyring"] == whole["keyring"]);
    Ok(())
}
