//! Calls that are not served: each with its type, and nothing of what was sent in the answer.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::{Effect, Fault};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use super::{SOON, Scene};
use crate::support::{World, manifest};

#[tokio::test]
async fn what_cannot_be_understood_is_refused_and_never_repeated() -> Result<()> {
    let Scene {
        world: _world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("misuse").await?;
    let session = app.begin(agent).await?;
    let canary = "canary-of-the-body";
    let bad: [(&str, Value); 9] = [
        ("session", json!({ "tenant": canary })),
        ("session", json!({ "tenant": "a/b", "more": canary })),
        ("session", json!([canary])),
        ("encrypt", json!({ "plaintext": canary })),
        ("encrypt", json!({ "plaintext": "aGVsbG8" })),
        ("encrypt", json!({ "plaintext": 7 })),
        ("decrypt", json!({})),
        ("rewrap", json!({ "items": [] })),
        (
            "rewrap",
            json!({ "items": vec![json!({ "ciphertext": "" }); 101] }),
        ),
    ];
    for (path, body) in bad {
        let answer = agent.call(path, &app.token, &session, &body).await?;
        ensure!(
            answer.status == 400 && answer.error() == "invalid_request",
            "{body}: {answer:?}"
        );
        ensure!(!answer.message().contains(canary), "{answer:?}");
    }
    let big = json!({ "plaintext": STANDARD.encode(vec![0; 900_000]) });
    let answer = agent.call("encrypt", &app.token, &session, &big).await?;
    ensure!(answer.status == 413, "{answer:?}");
    let answer = agent
        .call("nothing", &app.token, &session, &json!({}))
        .await?;
    ensure!(
        answer.status == 404 && answer.error() == "not_found",
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn http_that_is_not_ours_is_refused() -> Result<()> {
    let Scene {
        world: _world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("http").await?;
    let url = format!("{}/agent/v1/encrypt", agent.url);
    let get = agent.http.get(&url).send().await?;
    ensure!(get.status() == 405 && get.headers()["allow"] == "POST");
    ensure!(get.json::<Value>().await?["error"]["type"] == "method_not_allowed");
    let text = agent
        .http
        .post(&url)
        .bearer_auth(&app.token)
        .body("{}")
        .send()
        .await?;
    ensure!(text.status() == 415);
    let answer: Value = text.json().await?;
    ensure!(
        answer["error"]["type"] == "unsupported_media_type",
        "{answer}"
    );
    let bare = agent.http.post(&url).json(&json!({})).send().await?;
    ensure!(bare.status() == 401 && bare.headers()["www-authenticate"] == "Bearer");
    ensure!(bare.headers()["cache-control"] == "no-store");
    // The document needs nobody's token.
    let document = agent
        .http
        .get(format!("{}/agent/v1/openapi.json", agent.url))
        .send()
        .await?;
    let document: Value = document.error_for_status()?.json().await?;
    ensure!(document["paths"].as_object().context("paths")?.len() == 6);
    // Nothing but TLS is spoken.
    let plain = agent.http.get(url.replace("https:", "http:")).send().await;
    ensure!(plain.is_err());
    Ok(())
}

#[tokio::test]
async fn a_tenant_whose_key_was_never_proved_is_pending() -> Result<()> {
    let world = World::new("agent-pending").await?;
    let operator = world.env.spawn(world.env.agent_options()).await?;
    let agent = world.env.agent(&operator).await?;
    world.key.disable();
    world.env.apply(&manifest("acme", "")).await?.success()?;
    world
        .env
        .wait_condition("acme", "Ready", "False", Some("KeyDisabled"), SOON)
        .await?;
    let app = world.env.workload("app", "acme", &["session"]).await?;
    let asked = Instant::now();
    let refused = app.session(&agent).await?.refused("tenant_pending")?;
    ensure!(
        refused.status == 503 && refused.message().contains("KeyDisabled"),
        "{refused:?}"
    );
    // Sooner than any call is given up.
    ensure!(asked.elapsed() < Duration::from_secs(8));
    Ok(())
}

#[tokio::test]
async fn a_caller_may_not_call_for_ever() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("limits").await?;
    let session = app.begin(agent).await?;
    let config = std::fs::read_to_string(&world.env.config)?;
    world.env.write_config(&format!(
        "{config}limits: {{ agentCallerRps: 5, agentTenantRps: 10000 }}\n"
    ));
    let since = Instant::now();
    let limited = loop {
        let answer = app.encrypt(agent, &session, "hello").await?;
        if !answer.is_ok() {
            break answer.refused("rate_limited")?;
        }
        ensure!(since.elapsed() < SOON, "never limited");
    };
    ensure!(
        limited.status == 429 && limited.retry_after >= Some(1),
        "{limited:?}"
    );
    // Nobody else is.
    let other = world.env.workload("other", "acme", &["session"]).await?;
    let theirs = other.first_session(agent).await?;
    ensure!(theirs.is_ok(), "{theirs:?}");
    Ok(())
}

#[tokio::test]
async fn an_outage_is_no_seal() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("agent-outage").await?;
    let session = app.begin(agent).await?;
    let ciphertext = app.seal(agent, &session, "hello").await?;
    let begun = Instant::now();
    world
        .env
        .cloud
        .fault(Fault::on(&world.vault.host(), Effect::Hang));
    // The last proof holds for a minute, and the session no longer than it.
    loop {
        let asked = begun.elapsed();
        let answer = app.decrypt(agent, &session, &ciphertext).await?;
        let since = begun.elapsed();
        if answer.is_ok() {
            ensure!(
                asked < Duration::from_secs(61),
                "still open after {asked:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let at_its_time = ["session_expired", "kms_unavailable", "tenant_sealed"];
        ensure!(at_its_time.contains(&answer.error()), "{answer:?}");
        ensure!(since > Duration::from_secs(48), "{since:?}: {answer:?}");
        break;
    }
    Ok(())
}
