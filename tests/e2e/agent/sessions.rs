//! Whose a session is, and what ends it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Agent, Answer, Workload};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{QUICK, SOON, Scene, erase_first, rotate};
use crate::seen::{eventually, patch, suspend};

/// Asks until the answer has this error.
pub async fn until(
    kind: &str,
    within: Duration,
    ask: impl AsyncFn() -> Result<Answer>,
) -> Result<Duration> {
    let since = Instant::now();
    loop {
        let answer = ask().await?;
        if answer.error() == kind {
            return Ok(since.elapsed());
        }
        ensure!(
            since.elapsed() < within,
            "not {kind} in {within:?}: {answer:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn opens(app: &Workload, agent: &Agent, session: &str, ciphertext: &str) -> Result<()> {
    let text = app.open(agent, session, ciphertext).await?;
    ensure!(text == "hello");
    Ok(())
}

#[tokio::test]
async fn a_session_encrypts_and_decrypts_and_tells_when_it_ends() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("session").await?;
    let before = Timestamp::now();
    let answer = app.first_session(agent).await?.ok()?;
    let after = Timestamp::now();
    let session = answer.text("session_token")?;
    let (ttl, renew) = (
        &answer.body["ttl_seconds"],
        &answer.body["renew_after_seconds"],
    );
    let (ttl, renew) = (
        ttl.as_i64().context("ttl")?,
        renew.as_i64().context("renew")?,
    );
    // A proof is at most an interval old, and holds for a minute here.
    ensure!(
        (50..=60).contains(&ttl) && renew == ttl * 4 / 5,
        "{ttl} {renew}"
    );
    let expires: Timestamp = answer.text("expires_at")?.parse()?;
    let begun = expires.as_second() - ttl;
    let asked = before.as_second() - 1..=after.as_second() + 1;
    ensure!(asked.contains(&begun), "{begun} is not in {asked:?}");

    let ciphertext = app.seal(agent, &session, "hello").await?;
    opens(app, agent, &session, &ciphertext).await?;
    let tenant = world.env.tenant("acme").await?;
    let active = tenant["status"]["masterKeys"][0]["id"].clone();
    let again = app.encrypt(agent, &session, "hello").await?.ok()?;
    ensure!(again.body["key_id"] == active);
    ensure!(
        again.text("ciphertext")? != ciphertext,
        "two are never the same"
    );
    Ok(())
}

#[tokio::test]
async fn a_session_ends_at_its_time() -> Result<()> {
    let Scene {
        world: _world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("expiry").await?;
    let answer = app.first_session(agent).await?.ok()?;
    let session = answer.text("session_token")?;
    let expires: Timestamp = answer.text("expires_at")?.parse()?;
    let ciphertext = app.seal(agent, &session, "hello").await?;
    loop {
        let asked = Timestamp::now();
        let answer = app.decrypt(agent, &session, &ciphertext).await?;
        if asked >= expires {
            answer.refused("session_expired")?;
            return Ok(());
        }
        ensure!(
            answer.is_ok() || Timestamp::now() >= expires,
            "ended before {expires}: {answer:?}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_seal_ends_every_session_for_ever() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("ended").await?;
    let env = &world.env;
    let session = app.begin(agent).await?;
    let ciphertext = app.seal(agent, &session, "hello").await?;
    world.key.disable();
    until("tenant_sealed", SOON, || {
        app.decrypt(agent, &session, &ciphertext)
    })
    .await?;
    let refused = app.session(agent).await?.refused("tenant_sealed")?;
    ensure!(
        refused.status == 503 && refused.message().contains("KeyDisabled"),
        "{refused:?}"
    );
    ensure!(
        refused.message().contains("kubectl describe tkms 'acme'"),
        "{refused:?}"
    );

    world.key.enable();
    patch(
        env,
        "acme",
        false,
        "merge",
        &json!({ "metadata": { "annotations": {
        "tenantkms.dev/unseal-requested-at": "now" } } })
        .to_string(),
    )
    .await?;
    env.wait_condition("acme", "Active", "True", Some("Verified"), SOON)
        .await?;
    let again = async || {
        let answer = app.session(agent).await?;
        Ok(answer.is_ok())
    };
    eventually("a session after the unseal", SOON, again).await?;
    let refused = app.decrypt(agent, &session, &ciphertext).await?;
    refused.refused("session_invalid")?;
    let new = app.begin(agent).await?;
    opens(app, agent, &new, &ciphertext).await?;

    // The same by the platform's own stop.
    suspend(env, "acme", true).await?;
    until("tenant_suspended", SOON, || {
        app.decrypt(agent, &new, &ciphertext)
    })
    .await?;
    suspend(env, "acme", false).await?;
    eventually("a session after the stop", SOON, again).await?;
    // Who stole it before the stop has nothing after it.
    app.decrypt(agent, &new, &ciphertext)
        .await?
        .refused("session_invalid")?;
    let last = app.begin(agent).await?;
    opens(app, agent, &last, &ciphertext).await?;
    env.kubectl(&["delete", "tkms", "acme"]).await?.success()?;
    until("tenant_not_found", SOON, || {
        app.decrypt(agent, &last, &ciphertext)
    })
    .await?;
    app.session(agent).await?.refused("tenant_not_found")?;
    // An object of the same name has the data, and nobody's session.
    world.active(QUICK).await?;
    eventually("a session for the new object", SOON, again).await?;
    app.decrypt(agent, &last, &ciphertext)
        .await?
        .refused("session_invalid")?;
    let new = app.begin(agent).await?;
    opens(app, agent, &new, &ciphertext).await
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_gone_within_30_s() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("rights-away").await?;
    let session = app.begin(agent).await?;
    let ciphertext = app.seal(agent, &session, "hello").await?;
    let delete = ["delete", "rolebinding", "app-acme-session"];
    world.env.kubectl(&delete).await?.success()?;
    let took = until("forbidden", SOON, || {
        app.decrypt(agent, &session, &ciphertext)
    })
    .await?;
    ensure!(
        took > Duration::from_secs(5),
        "it was not remembered at all: {took:?}"
    );
    // Or it was remembered as while there is no room to ask.
    ensure!(took < Duration::from_secs(35), "{took:?}");
    app.session(agent).await?.refused("forbidden")?;
    Ok(())
}

#[tokio::test]
async fn a_rotation_logs_nobody_out_and_erasing_does() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("rotated").await?;
    let env = &world.env;
    let session = app.begin(agent).await?;
    let ciphertext = app.seal(agent, &session, "hello").await?;
    let before = app
        .encrypt(agent, &session, "hello")
        .await?
        .text("key_id")?;
    rotate(world).await?;
    eventually("the next master key", SOON, async || {
        // Also while it rotates nobody is logged out.
        let now = app
            .encrypt(agent, &session, "hello")
            .await?
            .ok()?
            .text("key_id")?;
        opens(app, agent, &session, &ciphertext).await?;
        Ok(now != before)
    })
    .await?;
    let body = json!({ "items": [{ "ciphertext": ciphertext }, { "ciphertext": "AAAA" }] });
    let rewrapped = agent
        .call("rewrap", &app.token, &session, &body)
        .await?
        .ok()?;
    let items = &rewrapped.body["items"];
    ensure!(
        items[0]["key_id"] != before.as_str() && items[0]["key_id"].is_string(),
        "{rewrapped:?}"
    );
    ensure!(
        items[1]["error"]["type"] == "ciphertext_invalid",
        "{rewrapped:?}"
    );
    let rewrapped = items[0]["ciphertext"].as_str().context("ciphertext")?;
    opens(app, agent, &session, rewrapped).await?;

    erase_first(env, &before).await?;
    // It was issued with the key that is no more: on record, and a moment later in memory.
    until("session_invalid", SOON, || {
        app.decrypt(agent, &session, rewrapped)
    })
    .await?;
    let new = app.begin(agent).await?;
    let refused = app
        .decrypt(agent, &new, &ciphertext)
        .await?
        .refused("key_erased")?;
    ensure!(refused.status == 410);
    opens(app, agent, &new, rewrapped).await
}
