//! Versions that are destroyed on purpose: without asking any cloud, so also while sealed or
//! suspended; never the active one, and never taken back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    ACTIVE, RARELY, REFUSED, SEALED, VERIFY, ask, handled, ids, kept, keys_are, long_retired,
    new_kek, open, spec, two_versions, verified, versions,
};
use crate::faults::film::condition;
use crate::faults::kills::end_lease;
use crate::seen::{self, calls, eventually, record, wait_row};
use crate::support::{SOON, World};

async fn erase(world: &World, ids: &[&String]) -> Result<()> {
    spec(&world.env, json!({ "masterKey": { "erasedIds": ids } })).await
}

fn without_blob(body: &Value, number: usize) -> Result<()> {
    let one = &versions(body)[number - 1];
    ensure!(
        one["wrapped"].is_null() && one["erased"].is_string() && one["commitment"].is_string(),
        "{one}"
    );
    Ok(())
}

#[tokio::test]
async fn an_erased_version_is_gone_without_a_call_in_every_state() -> Result<()> {
    let world = World::new("keys-erased").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    two_versions(&world, RARELY).await?;
    let body = new_kek(&world, "1 retired, 2 retired, 3 active").await?;
    let known = open(&world.key, &body)?;
    let all = ids(&body);
    handled(env, "verifyRequestedAt", &world.key.version()).await?;
    let before = calls(env);
    long_retired(env, "quiet").await?;
    // The check is told of before the probe beside it is over.
    eventually("one check and one probe", SOON, async || {
        let now = calls(env);
        Ok(now.wraps == before.wraps + 1 && now.unwraps == before.unwraps + 2)
    })
    .await?;

    let counted = calls(env);
    erase(&world, &[&all[0]]).await?;
    let body = keys_are(env, "1 erased, 2 retired, 3 active", SOON).await?;
    without_blob(&body, 1)?;
    ensure!(calls(env) == counted, "{:?} of {counted:?}", calls(env));
    wait_row(env, "acme", ACTIVE, SOON).await?;

    // While suspended.
    spec(env, json!({ "suspend": true })).await?;
    let suspended = |object: &Value| object["status"]["phase"] == "Suspended";
    env.wait("acme", "suspended", SOON, suspended).await?;
    let counted = calls(env);
    erase(&world, &[&all[0], &all[1]]).await?;
    let body = keys_are(env, "1 erased, 2 erased, 3 active", SOON).await?;
    without_blob(&body, 2)?;
    ensure!(calls(env) == counted, "{:?} of {counted:?}", calls(env));
    spec(env, json!({ "suspend": null })).await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    let left = open(&world.key, &record(env, "acme").await?.body)?;
    ensure!(left.len() == 1 && left[&all[2]] == known[&all[2]]);

    // While sealed: the seal tries its key every 30 s, so this is to be quick.
    let body = new_kek(&world, "1 erased, 2 erased, 3 retired, 4 active").await?;
    ensure!(body["keyring"]["kek"]["version"] == world.key.version().as_str());
    long_retired(env, "later").await?;
    world.key.disable();
    ask(env, VERIFY, "denied").await?;
    wait_row(env, "acme", SEALED, SOON).await?;
    let (since, counted) = (Instant::now(), calls(env));
    erase(&world, &[&all[0], &all[1], &all[2]]).await?;
    let body = keys_are(env, "1 erased, 2 erased, 3 erased, 4 active", SOON).await?;
    without_blob(&body, 3)?;
    let quick = since.elapsed().as_secs() < 20;
    ensure!(
        !quick || calls(env) == counted,
        "{:?} of {counted:?}",
        calls(env)
    );
    wait_row(env, "acme", SEALED, SOON).await?;
    // The stop and the seal each ended all sessions.
    ensure!(record(env, "acme").await?.body["sealEpoch"] == 2);

    // For ever: also for another process, and for those who would take an id back.
    operator.kill().await?;
    end_lease(env).await?;
    let _operator = world.operator().await?;
    world.key.enable();
    verified(env, "enabled").await?;
    wait_row(env, "acme", ACTIVE, 2 * SOON).await?;
    for fewer in [json!([all[0], all[1]]), json!([]), Value::Null] {
        let change = json!({ "spec": { "masterKey": { "erasedIds": fewer } } }).to_string();
        let change = format!("--patch={change}");
        let args = ["patch", "tkms", "acme", "--type=merge", &change];
        let answer = env.kubectl(&args).await?;
        ensure!(
            !answer.status && answer.stderr.contains("erasedIds only grows"),
            "{}",
            answer.stderr
        );
    }
    let now = record(env, "acme").await?.body;
    ensure!(now["keyring"] == body["keyring"], "{}", kept(&now));
    Ok(())
}

#[tokio::test]
async fn the_active_version_is_erased_only_when_another_one_is_active() -> Result<()> {
    let world = World::new("keys-erase-active").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    let before = two_versions(&world, RARELY).await?;
    let all = ids(&before);
    long_retired(env, "later").await?;
    erase(&world, &[&all[1], &all[0]]).await?;
    // The other one is erased all the same.
    let body = keys_are(env, "1 erased, 2 active", SOON).await?;
    without_blob(&body, 1)?;
    let refused = wait_row(env, "acme", REFUSED, SOON).await?;
    let said = condition(&refused, "ConfigAccepted").context("said")?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(
        said["reason"] == "NotAllowed"
            && message.contains(&all[1])
            && message.contains("rotate-requested-at"),
        "{said}"
    );
    ensure!(seen::reason(&refused, "Active") == "Verified");
    ensure!(open(&world.key, &body)?.contains_key(&all[1]));

    // The next rotation makes that possible, as soon as nobody can be encrypting with it any more.
    let body = new_kek(&world, "1 erased, 2 retired, 3 active").await?;
    ensure!(open(&world.key, &body)?.contains_key(&all[1]));
    wait_row(env, "acme", ACTIVE, SOON).await?;
    long_retired(env, "much-later").await?;
    let body = keys_are(env, "1 erased, 2 erased, 3 active", SOON).await?;
    without_blob(&body, 2)?;
    ensure!(open(&world.key, &body)?.len() == 1);
    wait_row(env, "acme", ACTIVE, SOON).await.map(drop)
}
