//! From the customer's key to the platform's and back, through the code that moves any keyring: the
//! same master key, never without a key, and only with the grant.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{ask, both, grant, standard};
use crate::faults::film::Film;
use crate::lifecycle::{ACTIVE, RARELY};
use crate::seen::{self, record, wait_row};
use crate::support::{SOON, World, manifest, policy};

const REFUSED: &str =
    "Active: Ready=False Active=True Sealed=False ConfigAccepted=False Stalled=True";

/// What tells the master key, and what wraps it.
async fn keyring(world: &World) -> Result<(Value, Value)> {
    let keyring = record(&world.env, "acme").await?.body["keyring"].take();
    let of = |version: &Value| json!([version["id"], version["number"], version["commitment"]]);
    let all = keyring["versions"].as_array();
    let same = all.into_iter().flatten().map(of).collect();
    Ok((same, keyring["kek"].clone()))
}

#[tokio::test]
async fn from_the_customers_key_to_the_platforms() -> Result<()> {
    let world = World::new("tolocal").await?;
    let env = &world.env;
    env.add_kek("standard.1");
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let film = Film::start(env, "acme").await?;
    let (keys, before) = keyring(&world).await?;
    ensure!(before["provider"] == "azure", "{before}");
    ensure!(record(env, "acme").await?.body["claim"] == world.key.url());

    env.apply(&standard(&env.namespace, RARELY))
        .await?
        .success()?;
    let refused = wait_row(env, "acme", REFUSED, SOON).await?;
    ensure!(seen::reason(&refused, "ConfigAccepted") == "NotAllowed");
    ensure!(keyring(&world).await? == (keys.clone(), before));

    env.write_config(&both(&world));
    let moved = wait_row(env, "acme", ACTIVE, SOON).await?;
    ensure!(moved["status"]["kekVersion"] == "1");
    let (after, kek) = keyring(&world).await?;
    ensure!(after == keys, "{after} instead of {keys}");
    let expected = json!({ "provider": "local", "keyId": "local://standard", "version": "1" });
    ensure!(kek == expected, "{kek}");
    ensure!(record(env, "acme").await?.body["claim"].is_null());
    film.never("not Active", |object| object["status"]["phase"] != "Active")?;

    // The customer's key has no say any more.
    world.key.disable();
    let calls = env.cloud.calls().len();
    ask(env, "verify", "moved").await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    ensure!(env.cloud.calls().len() == calls);
    Ok(())
}

#[tokio::test]
async fn from_the_platforms_key_to_the_customers() -> Result<()> {
    let world = World::new("fromlocal").await?;
    let env = &world.env;
    env.add_kek("standard.1");
    env.write_config(&grant(env));
    let _operator = world.operator().await?;
    env.apply(&standard(&env.namespace, RARELY))
        .await?
        .success()?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    let film = Film::start(env, "acme").await?;
    let (keys, before) = keyring(&world).await?;

    // Nobody lent this tenant the credential yet.
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    let refused = wait_row(env, "acme", REFUSED, SOON).await?;
    ensure!(seen::reason(&refused, "ConfigAccepted") == "NotAllowed");
    ensure!(env.cloud.calls().is_empty(), "{:?}", env.cloud.calls());
    ensure!(keyring(&world).await? == (keys.clone(), before));

    env.write_config(&both(&world));
    wait_row(env, "acme", ACTIVE, SOON).await?;
    let (after, kek) = keyring(&world).await?;
    ensure!(after == keys, "{after} instead of {keys}");
    ensure!(kek["provider"] == "azure" && kek["keyId"] == world.key.url());
    ensure!(record(env, "acme").await?.body["claim"] == world.key.url());
    film.never("not Active", |object| object["status"]["phase"] != "Active")?;

    // The platform's key opens nothing any more, and the customer's no is heard.
    env.take_kek("standard.1");
    env.write_config(&policy(&env.namespace));
    ask(env, "verify", "moved").await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    world.key.disable();
    ask(env, "verify", "disabled").await?;
    env.wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
        .await
        .map(drop)
}
