//! The customer rotates its key: a new master key, and every older one moves to the new version of
//! the customer's key, so that the old version may be taken away.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{ACTIVE, RARELY, VERIFY, ask, commitments, ids, keys_are, open, verified, versions};
use crate::faults::film::Film;
use crate::faults::kills::end_lease;
use crate::seen::{calls, eventually, record, wait_row};
use crate::support::{SOON, World};

#[tokio::test]
async fn a_new_version_of_the_customers_key_wraps_everything() -> Result<()> {
    let world = World::new("keys-kek").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let film = Film::start(env, "acme").await?;
    let first = world.key.version();
    let before = record(env, "acme").await?.body;
    let mut known = open(&world.key, &before)?;

    let mut old = first;
    for (round, wanted) in ["1 retired, 2 active", "1 retired, 2 retired, 3 active"]
        .iter()
        .enumerate()
    {
        let new = world.key.new_version();
        ask(env, VERIFY, &format!("look-{round}")).await?;
        let body = keys_are(env, wanted, SOON).await?;
        ensure!(
            body["keyring"]["kek"]["version"] == new.as_str(),
            "{}",
            body["keyring"]["kek"]
        );
        let opened = open(&world.key, &body)?;
        ensure!(opened.len() == round + 2, "{} open", opened.len());
        for (id, bytes) in &known {
            ensure!(opened.get(id) == Some(bytes), "{id} is another key now");
        }
        let different: HashSet<_> = opened.values().collect();
        ensure!(different.len() == opened.len(), "two ids for one key");
        for one in versions(&body) {
            let wrapped = STANDARD.decode(one["wrapped"].as_str().context("a blob")?)?;
            ensure!(
                world.key.open(&old, &wrapped).is_none(),
                "still under the old version"
            );
        }
        known = opened;

        // The old version is not needed any more.
        world.key.disable_version(&old);
        let object = verified(env, &format!("old-gone-{round}")).await?;
        ensure!(
            object["status"]["kekVersion"] == new.as_str(),
            "{}",
            object["status"]
        );
        let times = |field: &str| {
            let all = object["status"]["masterKeys"].as_array();
            let has = |one: &&Value| one[field].is_string();
            all.into_iter().flatten().filter(has).count()
        };
        ensure!(times("createdTime") == round + 2 && times("retiredTime") == round + 1);
        wait_row(env, "acme", ACTIVE, SOON).await?;
        old = new;
    }
    let after = record(env, "acme").await?.body;
    ensure!(ids(&after)[..1] == ids(&before)[..]);
    ensure!(commitments(&after)[..1] == commitments(&before)[..]);

    // Nor by another process, which opens the active one and asks nothing else.
    operator.kill().await?;
    end_lease(env).await?;
    let counted = calls(env);
    let _operator = world.operator().await?;
    eventually("the new process has a proof", SOON, async || {
        Ok(calls(env).unwraps > counted.unwraps)
    })
    .await?;
    verified(env, "another-process").await?;
    film.always_active()?;
    ensure!(record(env, "acme").await?.body["keyring"] == after["keyring"]);
    Ok(())
}
