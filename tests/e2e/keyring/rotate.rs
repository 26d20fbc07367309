//! Rotation: on request, at most once per hour and never forgotten, only while the customer agrees;
//! and by age.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    ACTIVE, RARELY, ROTATE, SEALED, UNSEAL, VERIFY, age, ask, handled, kept, keys_are, open, spec,
    told, verified,
};
use crate::faults::film::Film;
use crate::seen::{self, record, throughout, wait_row};
use crate::support::{SOON, World};

/// So long is looked whether something happens that must not.
const A_WHILE: Duration = Duration::from_secs(6);
const FIELD: &str = "rotateRequestedAt";

#[tokio::test]
async fn a_requested_rotation_waits_for_its_hour_and_for_the_customer() -> Result<()> {
    let world = World::new("keys-rotate").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let film = Film::start(env, "acme").await?;
    let known = open(&world.key, &record(env, "acme").await?.body)?;

    // Too young.
    ask(env, ROTATE, "first").await?;
    throughout(A_WHILE, async || {
        let object = env.tenant("acme").await?;
        ensure!(told(&object) == "1 active", "{}", told(&object));
        ensure!(object["status"]["handledRequests"][FIELD].is_null());
        Ok(())
    })
    .await?;
    operator.terminate().await?;
    age(env, 2).await?;
    let operator = world.operator().await?;
    keys_are(env, "1 retired, 2 active", SOON).await?;
    handled(env, FIELD, "first").await?;

    // Another one within the hour: it waits, over a restart too, and is not lost.
    ask(env, ROTATE, "second").await?;
    ask(env, ROTATE, "third").await?;
    verified(env, "meanwhile").await?;
    throughout(A_WHILE, async || {
        let object = env.tenant("acme").await?;
        ensure!(told(&object) == "1 retired, 2 active", "{}", told(&object));
        ensure!(object["status"]["handledRequests"][FIELD] == "first");
        Ok(())
    })
    .await?;
    operator.terminate().await?;
    age(env, 2).await?;
    let operator = world.operator().await?;
    keys_are(env, "1 retired, 2 retired, 3 active", SOON).await?;
    handled(env, FIELD, "third").await?;

    // What is handled asks for nothing, however old the key is.
    operator.terminate().await?;
    age(env, 200).await?;
    let operator = world.operator().await?;
    verified(env, "handled").await?;
    throughout(A_WHILE, async || {
        let object = env.tenant("acme").await?;
        ensure!(told(&object).ends_with("3 active"), "{}", told(&object));
        Ok(())
    })
    .await?;
    film.always_active()?;

    // Not while the customer says no.
    world.key.disable();
    ask(env, VERIFY, "denied").await?;
    wait_row(env, "acme", SEALED, SOON).await?;
    let sealed = record(env, "acme").await?.body;
    ask(env, ROTATE, "fourth").await?;
    throughout(A_WHILE, async || {
        let now = record(env, "acme").await?.body;
        ensure!(now["keyring"] == sealed["keyring"], "{}", kept(&now));
        ensure!(now["handled"][FIELD] == "third");
        Ok(())
    })
    .await?;
    // Nor when the key would do it: the tenant is sealed until its own proof.
    world.key.enable();
    ask(env, ROTATE, "fifth").await?;
    throughout(A_WHILE, async || {
        let now = record(env, "acme").await?.body;
        let same = now["keyring"] == sealed["keyring"];
        let row = seen::row(&env.tenant("acme").await?);
        ensure!(
            same || row != SEALED,
            "rotated while sealed: {}",
            kept(&now)
        );
        Ok(())
    })
    .await?;
    ask(env, UNSEAL, "please").await?;
    let body = keys_are(env, "1 retired, 2 retired, 3 retired, 4 active", 2 * SOON).await?;
    handled(env, FIELD, "fifth").await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    let opened = open(&world.key, &body)?;
    ensure!(opened.len() == 4);
    ensure!(
        known
            .iter()
            .all(|(id, bytes)| opened.get(id) == Some(bytes))
    );
    operator.kill().await
}

#[tokio::test]
async fn a_master_key_gets_no_older_than_its_interval() -> Result<()> {
    let world = World::new("keys-age").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    spec(env, json!({ "masterKey": { "rotationInterval": "24h" } })).await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    operator.terminate().await?;
    age(env, 23).await?;
    let operator = world.operator().await?;
    verified(env, "young").await?;
    throughout(A_WHILE, async || {
        let object = env.tenant("acme").await?;
        ensure!(told(&object) == "1 active", "{}", told(&object));
        Ok(())
    })
    .await?;
    operator.terminate().await?;
    age(env, 25).await?;
    let _operator = world.operator().await?;
    let body = keys_are(env, "1 retired, 2 active", SOON).await?;
    ensure!(open(&world.key, &body)?.len() == 2);
    ensure!(body["handled"][FIELD].is_null(), "nobody asked");
    // The new one is young.
    throughout(A_WHILE, async || {
        let object = env.tenant("acme").await?;
        ensure!(told(&object) == "1 retired, 2 active", "{}", told(&object));
        Ok(())
    })
    .await?;
    wait_row(env, "acme", ACTIVE, SOON).await.map(drop)
}
