//! What is encrypted, and what it is bound to.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{SOON, Scene};

#[tokio::test]
async fn a_ciphertext_opens_only_as_it_was_made() -> Result<()> {
    let Scene {
        world: _world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("bound").await?;
    let session = app.begin(agent).await?;
    let call = async |path: &str, body| agent.call(path, &app.token, &session, &body).await;
    let (plaintext, aad) = (STANDARD.encode([0; 1024]), STANDARD.encode("record 1"));
    let made = call("encrypt", json!({ "plaintext": plaintext, "aad": aad }))
        .await?
        .ok()?;
    let ciphertext = made.text("ciphertext")?;
    let opened = call("decrypt", json!({ "ciphertext": ciphertext, "aad": aad }))
        .await?
        .ok()?;
    ensure!(
        opened.text("plaintext")? == plaintext && opened.text("key_id")? == made.text("key_id")?
    );
    for wrong in [
        json!({ "ciphertext": ciphertext }),
        json!({ "ciphertext": ciphertext, "aad": "" }),
    ] {
        call("decrypt", wrong)
            .await?
            .refused("ciphertext_invalid")?;
    }
    let mut bytes = STANDARD.decode(&ciphertext)?;
    for place in [3, 10, 40, 70, 84, bytes.len() - 1] {
        bytes[place] ^= 1;
        let changed = json!({ "ciphertext": STANDARD.encode(&bytes), "aad": aad });
        let answer = call("decrypt", changed).await?;
        // A key id that nobody knows is looked for on record, once a second.
        ensure!(
            answer.error() == "ciphertext_invalid" || place == 10 && answer.error() == "busy",
            "{place}: {answer:?}"
        );
        bytes[place] ^= 1;
    }
    // The largest, and one byte more.
    for (size, ok) in [(512 * 1024, true), (512 * 1024 + 1, false)] {
        let answer = call(
            "encrypt",
            json!({ "plaintext": STANDARD.encode(vec![7; size]) }),
        )
        .await?;
        ensure!(answer.is_ok() == ok, "{size}: {}", answer.error());
        ensure!(
            ok || answer.error() == "payload_too_large",
            "{size}: {}",
            answer.error()
        );
        if ok {
            let body = json!({ "ciphertext": answer.text("ciphertext")? });
            call("decrypt", body).await?.ok()?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_data_key_needs_its_own_right_and_says_how_long_it_may_be_kept() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("data-key").await?;
    let begun = app.first_session(agent).await?.ok()?;
    let session = begun.text("session_token")?;
    let call = async |path: &str, body| agent.call(path, &app.token, &session, &body).await;
    let refused = call("data-key", json!({})).await?.refused("forbidden")?;
    ensure!(
        refused
            .message()
            .contains("tenantkmses.tenantkms.dev/datakey"),
        "{refused:?}"
    );
    world.env.let_use("app", "acme", "datakey").await?;
    let since = Instant::now();
    let made = loop {
        let made = call("data-key", json!({})).await?;
        if made.is_ok() {
            break made;
        }
        // A no is remembered for 10 s.
        ensure!(since.elapsed() < SOON, "{made:?}");
        sleep(Duration::from_millis(100)).await;
    };
    let key = STANDARD.decode(made.text("plaintext")?)?;
    ensure!(key.len() == 32 && key.iter().any(|byte| *byte != 0));
    ensure!(made.text("keep_until")? == begun.text("expires_at")?);
    let body = json!({ "ciphertext": made.text("ciphertext")? });
    let opened = call("decrypt", body).await?.ok()?;
    ensure!(opened.text("plaintext")? == made.text("plaintext")?);
    ensure!(opened.text("keep_until")? == made.text("keep_until")?);
    let another = call("data-key", json!({})).await?.ok()?;
    ensure!(another.text("plaintext")? != made.text("plaintext")?);
    Ok(())
}

#[tokio::test]
async fn a_standard_tenants_session_lasts_an_hour() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        ..
    } = &Scene::new("standard").await?;
    let env = &world.env;
    env.add_kek("standard.1");
    env.write_config(&format!(
        "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\noperatorIdentity:\n  \
         allow: [{{ tenants: ['{}/*'], keys: ['local://*'] }}]\n",
        env.namespace
    ));
    env.apply(
        "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\nmetadata: { name: own }\n\
         spec: { provider: local, kmsKeyRef: 'local://standard', verify: { proofTTL: 1m } }\n",
    )
    .await?
    .success()?;
    env.wait_condition("own", "Active", "True", Some("Verified"), SOON)
        .await?;
    let app = env.workload("own-app", "own", &["session"]).await?;
    let answer = app.first_session(agent).await?.ok()?;
    let ttl = answer.body["ttl_seconds"].as_u64().context("ttl")?;
    ensure!(ttl == 3600, "{ttl}");
    Ok(())
}
