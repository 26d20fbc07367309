//! Tenants of the canary's world by what their namespace lends. The value of the lent Secret stands
//! in etcd under the Secret's own key, and there alone it may be.

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fakecloud::Scope;
use harness::Env;
use harness::search::Place;
use serde_json::{Value, json};

use super::OFTEN;
use crate::identities::{AUDIENCE, published_issuer};
use crate::support::{DIRECTORY, SOON, VARIABLE, World, manifest};

/// The value of a Secret that a tenant's namespace lends.
const LENT: &str = "l3nt~canary-of-the-tenants-own";

/// Tenants by what their namespace lends: a Secret, and the tokens of a `ServiceAccount`.
pub async fn lend(world: &World) -> Result<[String; 2]> {
    let env = &world.env;
    let directory = env.cloud.directory(DIRECTORY);
    let names = ["lent-secret", "lent-account"].map(str::to_owned);
    let [secret, account] = &names;
    let rights = json!([{
        "namespace": env.namespace, "secrets": [secret], "serviceAccounts": [account],
    }]);
    env.upgrade(&[&format!("tenantCredentials={rights}")])
        .await?;
    let label =
        |name: &str| format!("{{ name: {name}, labels: {{ tenantkms.dev/tenant: {name} }} }}");
    let objects = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {}\nstringData: {{ client-secret: {LENT:?} \
         }}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {}\n",
        label(secret),
        label(account)
    );
    env.apply(&objects).await?.success()?;
    world.app.add_secret(LENT);
    let issuer = published_issuer(env).await?;
    let subject = format!("system:serviceaccount:{}:{account}", env.namespace);
    world.app.federate(&issuer, &subject, AUDIENCE);
    for (name, proof) in [
        (
            secret,
            format!("clientSecret: {{ secretRef: {{ name: {secret}, key: client-secret }} }}"),
        ),
        (account, format!("serviceAccountName: {account}")),
    ] {
        let vault = env.cloud.vault(name, &directory);
        vault.create_key("tenant-wrapping-key");
        vault.grant(world.app.principal(), Scope::Vault);
        let variable = format!("clientSecret: {{ envVar: {VARIABLE} }}");
        let yaml = manifest(name, OFTEN)
            .replace("acme-kv", name)
            .replace(&variable, &proof);
        env.apply(&yaml).await?.success()?;
    }
    Ok(names)
}

/// Specs that refer to what is lent in a wrong way, and are told so.
pub async fn spoil(world: &World, names: &[String]) -> Result<()> {
    let wrong = [
        (
            json!({ "clientSecret": { "secretRef": { "key": "no-such-key" } } }),
            "SecretNotFound",
        ),
        (
            json!({ "serviceAccountName": "nobody" }),
            "IdentityUnavailable",
        ),
    ];
    for (name, (azure, reason)) in names.iter().zip(wrong) {
        let patch = json!({ "spec": { "azure": azure } }).to_string();
        crate::seen::patch(&world.env, name, false, "merge", &patch).await?;
        let failed = |object: &Value| object["status"]["lastVerifyError"]["reason"] == reason;
        world.env.wait(name, reason, 3 * SOON, failed).await?;
    }
    Ok(())
}

/// What a token says, if it is one.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// What is lent and minted was used, so it is among the canaries. Takes the Secret's value out of
/// its own objects in etcd's files.
pub fn forget_itself(env: &Env, canaries: &[String], files: &mut [Place]) -> Result<()> {
    const OBJECT: usize = 2048;
    ensure!(canaries.iter().any(|canary| canary == LENT), "not used");
    let account = |claims: &Value| {
        let subject = claims["sub"].as_str();
        subject.is_some_and(|subject| subject.ends_with(":lent-account"))
    };
    let mut minted = canaries.iter().filter_map(|token| claims(token));
    ensure!(minted.any(|claims| account(&claims)), "no token was minted");
    let key = format!("/registry/secrets/{}/lent-secret", env.namespace);
    let mut forgotten = 0;
    for file in files {
        let mut at = 0;
        while let Some(found) = position(&file.text[at..], LENT.as_bytes()) {
            at += found;
            let before = &file.text[at.saturating_sub(OBJECT)..at];
            if position(before, key.as_bytes()).is_some() {
                file.text[at..at + LENT.len()].fill(b'.');
                forgotten += 1;
            }
            at += LENT.len();
        }
    }
    ensure!(forgotten > 0, "the Secret is not in etcd");
    Ok(())
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
