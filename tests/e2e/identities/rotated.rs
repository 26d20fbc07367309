//! A client secret is replaced while its tenant is Active: the next token is bought with the new
//! one, without a restart, and the old one is worth nothing. And a token bought for one tenant
//! serves no other.

use anyhow::{Context, Result, ensure};
use harness::Env;
use serde_json::Value;

use super::{Town, application, tenant};
use crate::seen::eventually;
use crate::support::{SECRET, SOON, VARIABLE, World};

const NEW: &str = "s3cr3t~canary-of-the-rotated";

/// How many tokens Entra gave, and how often it refused.
fn tokens(env: &Env) -> (usize, usize) {
    let calls = env.cloud.calls();
    let of = |good: bool| {
        let answers = calls.iter().filter(|call| call.operation == "token");
        answers.filter(|call| (call.status == 200) == good).count()
    };
    (of(true), of(false))
}

/// Waits until Entra gave one more token.
pub async fn bought(env: &Env, within: std::time::Duration) -> Result<()> {
    let before = tokens(env).0;
    eventually("another token", within, async || Ok(tokens(env).0 > before)).await
}

async fn rejected(world: &World) -> Result<Value> {
    let rejected = |object: &Value| {
        let error = &object["status"]["lastVerifyError"];
        error["reason"] == "CredentialRejected" && error["code"] == "AADSTS7000215"
    };
    let what = "the old secret is refused";
    world.env.wait("acme", what, SOON, rejected).await
}

#[tokio::test]
async fn a_mounted_secret_is_rotated_without_a_restart() -> Result<()> {
    let world = World::new("idmounted").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    let pid = operator.pid();
    world.active("{ interval: 5s, proofTTL: 1m }").await?;

    // Both are good at Entra for a while, as a rotation goes.
    world.app.add_secret(NEW);
    env.set_secret(VARIABLE, NEW);
    bought(env, SOON).await?;
    world.app.remove_secret(SECRET);
    bought(env, 4 * SOON).await?;
    ensure!(tokens(env).1 == 0, "refused: {:?}", env.cloud.calls());
    let now = env.tenant("acme").await?;
    ensure!(now["status"]["lastVerifyError"].is_null(), "{now}");

    // The old one in its place again: Entra refuses it, and the token of the new one is not used on.
    let wraps = env.cloud.count("*", "wrapkey");
    env.set_secret(VARIABLE, SECRET);
    rejected(&world).await?;
    let (_, refused) = tokens(env);
    ensure!(refused > 0);
    ensure!(env.cloud.count("*", "wrapkey") <= wraps + 1, "went on");
    env.set_secret(VARIABLE, NEW);
    bought(env, SOON).await?;
    env.wait("acme", "all is well", SOON, |object| {
        object["status"]["lastVerifyError"].is_null() && object["status"]["phase"] == "Active"
    })
    .await?;
    ensure!(operator.pid() == pid && operator.metrics().await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_token_of_one_tenant_serves_no_other() -> Result<()> {
    let town = Town::new("idapart").await?;
    town.app.add_secret(SECRET);
    town.vault.create_key("birch-key");
    let _operator = town.env.operator().await?;
    let lend = async |name: &str, value: &str| {
        let literal = format!("--from-literal=client-secret={value}");
        let secret = format!("{name}-azure");
        let create = ["create", "secret", "generic", &secret, &literal];
        town.env.kubectl(&create).await?.success()?;
        let label = format!("tenantkms.dev/tenant={name}");
        let label = ["label", "secret", &secret, &label];
        town.env.kubectl(&label).await?.success()?;
        let proof =
            format!(", clientSecret: {{ secretRef: {{ name: {secret}, key: client-secret }} }}");
        let key = format!("{name}-key");
        let manifest = tenant(name, &application(&proof));
        let manifest = if name == "birch" {
            manifest.replace("tenant-wrapping-key", &key)
        } else {
            manifest
        };
        town.env.apply(&manifest).await?.success()?;
        let rights = town.refused(name, "SecretNotFound", "create role").await?;
        town.run(&rights).await
    };
    lend("acme", SECRET).await?;
    town.retried("acme").await?;

    // The same application and directory, whose token acme has, and a secret that is none of it.
    lend("birch", "wr0ng~canary").await?;
    town.refused("birch", "CredentialRejected", "birch-azure")
        .await?;
    ensure!(town.code("birch").await? == "AADSTS7000215");
    let used = |call: &fakecloud::Call| call.path.contains("birch-key") && call.principal.is_some();
    let calls = town.env.cloud.calls();
    let used: Vec<_> = calls.iter().filter(|call| used(call)).collect();
    ensure!(used.is_empty(), "acme's token was used: {used:?}");
    let acme = town.env.tenant("acme").await?;
    let phase = acme["status"]["phase"].as_str().context("a phase")?;
    ensure!(phase == "Active", "{acme}");
    Ok(())
}
