//! What a replica makes of what it has not seen, or only seen: the holder's new keys before a status tells
//! of them, and a status before its own check does.

use std::time::Duration;

use anyhow::{Result, ensure};
use fakecloud::{Effect, Fault};
use serde_json::json;
use tokio::time::Instant;

use super::replicas::Pair;
use super::{QUICK, SOON, rotate};
use crate::faults::keyring_kills::rights;
use crate::lifecycle::RARELY;
use crate::seen::{eventually, patch};

#[tokio::test]
async fn what_the_holder_makes_right_after_a_rotation_is_good_on_every_replica() -> Result<()> {
    let pair = &Pair::new("unseen-keys", QUICK).await?;
    let world = &pair.scene.world;
    let (app, holder) = (pair.app(), &pair.scene.agent);
    ensure!(pair.first_read().await? == "ok");
    // From here on nobody tells of it.
    rights::may(&world.env, "tenantkmses/status", "patch", false).await?;
    // The other replica reads the record again when it sees that somebody asked; the rotation is later.
    let late = Effect::Latency(Duration::from_secs(2));
    world
        .env
        .cloud
        .fault(Fault::on(&world.vault.host(), late).operation("wrapkey"));
    let made = async || app.encrypt(holder, &pair.session, "new").await?.ok();
    let before = made().await?.text("key_id")?;
    rotate(world).await?;
    eventually("the next master key", SOON, async || {
        Ok(made().await?.text("key_id")? != before)
    })
    .await?;
    let session = app.begin(holder).await?;
    let made = app.encrypt(holder, &session, "new").await?.ok()?;
    let status = &world.env.tenant("acme").await?["status"];
    let told = status["masterKeys"].as_array().map(Vec::len);
    ensure!(told == Some(1), "somebody told of it: {status:#}");

    let ciphertext = made.text("ciphertext")?;
    ensure!(app.open(&pair.agent, &session, &ciphertext).await? == "new");
    let own = app.encrypt(&pair.agent, &session, "own").await?.ok()?;
    ensure!(own.text("key_id")? == made.text("key_id")?);
    ensure!(pair.read().await? == "ok", "the former session and key");
    Ok(())
}

#[tokio::test]
async fn a_status_ends_what_was_proved_though_nobody_can_ask_the_key() -> Result<()> {
    let pair = &Pair::new("unseen-no", RARELY).await?;
    let world = &pair.scene.world;
    ensure!(pair.first_read().await? == "ok");
    // No check is due for minutes, and none would be answered.
    pair.other.ways.cloud.cut();
    ensure!(pair.read().await? == "ok");
    let forged = json!({ "status": { "phase": "Sealed" } }).to_string();
    patch(&world.env, "acme", true, "merge", &forged).await?;
    let told = Instant::now();
    let mut read = "ok".to_owned();
    while told.elapsed() < Duration::from_secs(10) {
        let asked = told.elapsed();
        read = pair.read().await?;
        let obeyed = ["tenant_sealed", "kms_unavailable"].contains(&read.as_str());
        let soon = asked < Duration::from_secs(5) && read == "ok";
        ensure!(obeyed || soon, "{read} {asked:?} after it");
    }
    // The holder has put it right; what was proved before is void all the same.
    ensure!(read == "kms_unavailable", "{read}");
    let wiped = async || {
        let metrics = pair.other.operator.metrics().await?;
        Ok(metrics.contains("tenantkms_keys_held 0"))
    };
    eventually("the keys to be wiped", SOON, wiped).await?;
    let (app, holder) = (pair.app(), &pair.scene.agent);
    let opened = app.open(holder, &pair.session, &pair.ciphertext).await?;
    ensure!(opened == "hello", "the holder has asked the key again");
    Ok(())
}
