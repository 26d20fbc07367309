//! What the operator that made a version knows is not lost when an older copy of the record is put
//! in its place, or the record is deleted.

use anyhow::{Result, ensure};

use super::{ACTIVE, RARELY, kept, new_kek, open, rewrite, two_versions, verified};
use crate::faults::film::Film;
use crate::faults::kills::end_lease;
use crate::lifecycle::damage;
use crate::seen::{eventually, record, wait_row};
use crate::support::{SOON, World};

#[tokio::test]
async fn an_older_record_put_back_loses_no_version() -> Result<()> {
    let world = World::new("keys-restored").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let backup = record(env, "acme").await?.body;
    let newest = new_kek(&world, "1 retired, 2 active").await?;
    let film = Film::start(env, "acme").await?;
    damage(env, "acme", &backup.to_string()).await?;
    ensure!(kept(&record(env, "acme").await?.body) == "1 active");

    verified(env, "a-write").await?;
    let body = record(env, "acme").await?.body;
    ensure!(body["keyring"] == newest["keyring"], "{}", kept(&body));
    ensure!(body["handled"]["verifyRequestedAt"] == "a-write");
    ensure!(open(&world.key, &body)?.len() == 2);
    wait_row(env, "acme", ACTIVE, SOON).await?;

    // A copy of the same age is taken as it is: it was restored on purpose.
    rewrite(env, "acme", |body| {
        body["handled"]["unsealRequestedAt"] = "restored".into();
    })
    .await?;
    verified(env, "another-write").await?;
    let body = record(env, "acme").await?.body;
    ensure!(body["handled"]["unsealRequestedAt"] == "restored");
    ensure!(body["keyring"] == newest["keyring"]);
    film.always_active()
}

#[tokio::test]
async fn a_deleted_record_is_written_again() -> Result<()> {
    let world = World::new("keys-deleted").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    let before = two_versions(&world, RARELY).await?;
    let film = Film::start(env, "acme").await?;
    let stored = record(env, "acme").await?;
    let records = env.records_namespace.as_str();
    let delete = ["delete", "secret", &stored.secret, "--namespace", records];
    crate::lifecycle::break_glass(env).await?;
    eventually("the record may be deleted", SOON, async || {
        Ok(env.control.kubectl(&delete).await?.status)
    })
    .await?;
    ensure!(record(env, "acme").await.is_err());

    verified(env, "a-write").await?;
    let again = record(env, "acme").await?.body;
    ensure!(again["keyring"] == before["keyring"], "{}", kept(&again));
    ensure!(again["tenantUid"] == before["tenantUid"]);
    ensure!(again["claim"] == before["claim"] && again["applied"] == before["applied"]);
    film.always_active()?;
    operator.kill().await?;
    end_lease(env).await?;
    let _operator = world.operator().await?;
    verified(env, "another-process").await?;
    film.always_active()
}
