//! A session in other hands than those that it was given to, or changed: it is of no use.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::Workload;
use serde_json::json;

use super::sessions::{opens, until};
use super::{QUICK, SOON, Scene};

#[tokio::test]
async fn a_session_is_of_no_use_to_anybody_else() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("stolen").await?;
    let env = &world.env;
    let session = app.begin(agent).await?;
    let ciphertext = app.seal(agent, &session, "hello").await?;

    // Another ServiceAccount with the same right.
    let thief = env.workload("thief", "acme", &["session"]).await?;
    thief
        .decrypt(agent, &session, &ciphertext)
        .await?
        .refused("session_invalid")?;
    // Another without: the right is asked before anything else.
    let nobody = env.workload("nobody", "acme", &[]).await?;
    let refused = nobody
        .decrypt(agent, &session, &ciphertext)
        .await?
        .refused("forbidden")?;
    ensure!(
        refused.message().contains("kubectl create role"),
        "{refused:?}"
    );
    // No token, a token for another audience, the token of a person.
    let body = json!({ "ciphertext": ciphertext });
    for bearer in [
        String::new(),
        env.token_for("app", None, "another").await?,
        "x.y.z".to_owned(),
    ] {
        let answer = agent.call("decrypt", &bearer, &session, &body).await?;
        answer.refused("unauthenticated")?;
    }

    // One pod of the same ServiceAccount, and another.
    let pod = Workload {
        token: env.token("app", Some("app-1")).await?,
        ..app.clone()
    };
    let other = Workload {
        token: env.token("app", Some("app-2")).await?,
        ..app.clone()
    };
    let own = pod.begin(agent).await?;
    opens(&pod, agent, &own, &ciphertext).await?;
    // A later token of the same pod, as kubelet rotates it.
    let later = Workload {
        token: env.token("app", Some("app-1")).await?,
        ..app.clone()
    };
    opens(&later, agent, &own, &ciphertext).await?;
    other
        .decrypt(agent, &own, &ciphertext)
        .await?
        .refused("session_invalid")?;
    app.decrypt(agent, &own, &ciphertext)
        .await?
        .refused("session_invalid")?;
    pod.decrypt(agent, &session, &ciphertext)
        .await?
        .refused("session_invalid")?;

    // What nobody issued.
    let mut forged = session.clone().into_bytes();
    let last = forged.last_mut().context("a token")?;
    *last = if *last == b'A' { b'E' } else { b'A' };
    for forged in [
        String::from_utf8(forged)?,
        "tks1_AAAA".to_owned(),
        "x".repeat(5000),
    ] {
        let answer = app.decrypt(agent, &forged, &ciphertext).await?;
        answer.refused("session_invalid")?;
    }
    app.decrypt(agent, "", &ciphertext)
        .await?
        .refused("session_invalid")?;
    opens(app, agent, &session, &ciphertext).await
}

/// Where it stands in a session token.
const KEY_ID: Range<usize> = 1..17;
const LENGTH: Range<usize> = 57..59;

fn session_bytes(token: &str) -> Result<Vec<u8>> {
    let text = token.strip_prefix("tks1_").context("a session token")?;
    Ok(URL_SAFE_NO_PAD.decode(text)?)
}

fn session_token(bytes: &[u8]) -> String {
    format!("tks1_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A session token in the right form with another tenant's name, and the signature that it had.
fn renamed(token: &str, tenant: &str) -> Result<String> {
    let mut bytes = session_bytes(token)?;
    let before = usize::from(u16::from_be_bytes(bytes[LENGTH].try_into()?));
    bytes.splice(LENGTH.end..LENGTH.end + before, tenant.bytes());
    bytes[LENGTH].copy_from_slice(&u16::try_from(tenant.len())?.to_be_bytes());
    Ok(session_token(&bytes))
}

#[tokio::test]
async fn a_session_is_for_one_tenant() -> Result<()> {
    let Scene {
        world,
        operator: _operator,
        agent,
        app,
    } = &Scene::new("two-tenants").await?;
    let env = &world.env;
    // The same key serves both: only the tenant tells them apart.
    let manifest = crate::support::manifest("birch", QUICK);
    env.apply(&manifest).await?.success()?;
    env.wait_condition("birch", "Active", "True", Some("Verified"), SOON)
        .await?;
    env.let_use("app", "birch", "session").await?;
    let birch = Workload {
        tenant: app.tenant.replace("acme", "birch"),
        ..app.clone()
    };
    let (acmes, birchs) = (app.begin(agent).await?, birch.begin(agent).await?);
    let ciphertext = app.seal(agent, &acmes, "hello").await?;
    app.decrypt(agent, &birchs, &ciphertext)
        .await?
        .refused("ciphertext_invalid")?;
    // Acme's session with the other's name in it, and with the master key of that name's session too.
    let (named, claims) = (renamed(&acmes, &birch.tenant)?, session_bytes(&birchs)?);
    let mut rekeyed = session_bytes(&named)?;
    rekeyed[KEY_ID].copy_from_slice(&claims[KEY_ID]);
    for forged in [session_token(&rekeyed), named] {
        // A key id that nobody knows is looked for on record, once a second.
        until("session_invalid", Duration::from_secs(5), async || {
            let answer = birch.encrypt(agent, &forged, "hello").await?;
            ensure!(!answer.is_ok(), "acme's session is good for birch");
            Ok(answer)
        })
        .await?;
    }
    birch.encrypt(agent, &birchs, "hello").await?.ok()?;
    opens(app, agent, &acmes, &ciphertext).await?;
    // A tenant that is not there, and one that this caller may not use.
    let cypress = Workload {
        tenant: app.tenant.replace("acme", "cypress"),
        ..app.clone()
    };
    cypress.session(agent).await?.refused("forbidden")?;
    env.let_use("app", "cypress", "session").await?;
    until("tenant_not_found", SOON, || cypress.session(agent)).await?;
    Ok(())
}
