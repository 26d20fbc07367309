//! A key that the customer's key wrapped before the operator came: taken over once, and nothing is
//! stored of one that does not open. The example is applied as it stands.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::Env;
use serde_json::{Value, json};

use crate::examples::example;
use crate::lifecycle::{ACTIVE, RARELY};
use crate::seen::{self, eventually, patch, record};
use crate::support::{SOON, World, manifest};

const HOME_MADE: [u8; 32] = *b"home-made master key of 32 bytes";

/// Puts a value where the tenant lends it, and lets the operator read it.
async fn lend(env: &Env, tenant: &str, secret: &str, value: &[u8]) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": secret, "labels": { "tenantkms.dev/tenant": tenant } },
        "data": { "wrapped": STANDARD.encode(value) },
    });
    env.apply(&object.to_string()).await?.success()?;
    let lent = format!(
        r#"tenantCredentials=[{{"namespace":"{}","secrets":["{secret}"]}}]"#,
        env.namespace
    );
    env.upgrade(&[&lent]).await
}

fn import_from(algorithm: &str, version: &str) -> Value {
    json!({
        "secretRef": { "name": "acme-wrapped", "key": "wrapped" },
        "algorithm": algorithm, "kekVersion": version,
    })
}

fn importing(from: &Value) -> Result<String> {
    let mut tenant: Value = serde_yaml_ng::from_str(&manifest("acme", RARELY))?;
    tenant["spec"]["masterKey"] = json!({ "importFrom": from });
    Ok(tenant.to_string())
}

/// What the record keeps, opened as only the customer can.
fn opened(world: &World, body: &Value) -> Result<Vec<u8>> {
    let versions = body["keyring"]["versions"].as_array();
    let versions = versions.context("no keyring")?;
    ensure!(versions.len() == 1, "{versions:?}");
    let wrapped = versions[0]["wrapped"].as_str().unwrap_or_default();
    let plain = world.key.unwrap(&STANDARD.decode(wrapped)?);
    plain.context("the customer's key does not open it")
}

#[tokio::test]
async fn an_earlier_key_becomes_the_first_version() -> Result<()> {
    let world = World::new("takeover").await?;
    let env = &world.env;
    // It was wrapped with SHA-1 and a version that is not the current one any more.
    let (version, wrapped) = (world.key.version(), world.key.wrap_with_sha1(&HOME_MADE));
    world.key.new_version();
    let text = format!("{}\n", STANDARD.encode(wrapped));
    lend(env, "acme", "acme-wrapped", text.as_bytes()).await?;
    let _operator = world.operator().await?;
    let tenant = importing(&import_from("RSA-OAEP", &version))?;
    env.apply(&tenant).await?.success()?;
    seen::wait_row(env, "acme", ACTIVE, SOON).await?;
    let first = record(env, "acme").await?.body;
    ensure!(opened(&world, &first)? == HOME_MADE);
    ensure!(
        first["keyring"]["kek"]["version"] == world.key.version().as_str(),
        "{first}"
    );
    ensure!(first["applied"]["spec"]["masterKey"].is_null(), "{first}");

    // Once it has begun, nothing is read or taken over again, whatever stands there.
    env.kubectl(&["delete", "secret", "acme-wrapped"])
        .await?
        .success()?;
    let counted = env.cloud.calls().len();
    let other = import_from("RSA-OAEP-256", &world.key.version());
    let other = json!({ "spec": { "masterKey": { "importFrom": other } } });
    patch(env, "acme", false, "merge", &other.to_string()).await?;
    env.wait("acme", "the other one is seen", SOON, |object| {
        object["status"]["observedGeneration"] == 2 && seen::row(object) == ACTIVE
    })
    .await?;
    ensure!(env.cloud.calls().len() == counted, "a call for it");
    ensure!(record(env, "acme").await?.body["keyring"] == first["keyring"]);
    Ok(())
}

#[tokio::test]
async fn what_does_not_open_to_32_bytes_leaves_nothing_behind() -> Result<()> {
    let world = World::new("takenot").await?;
    let env = &world.env;
    let key = &world.key;
    let stranger = world.vault.create_key("another-key").wrap(&HOME_MADE);
    let short = key.wrap(&HOME_MADE[..31]);
    lend(env, "acme", "acme-wrapped", &stranger).await?;
    let _operator = world.operator().await?;
    let from = import_from("RSA-OAEP-256", &key.version());
    env.apply(&importing(&from)?).await?.success()?;
    let ask = async |value: &[u8], reason: &str, words: &str| -> Result<()> {
        lend(env, "acme", "acme-wrapped", value).await?;
        let stamp = format!("tenantkms.dev/verify-requested-at={words}");
        let annotate = ["annotate", "tkms", "acme", &stamp, "--overwrite"];
        env.kubectl(&annotate).await?.success()?;
        env.wait("acme", words, 3 * SOON, |object| {
            let error = &object["status"]["lastVerifyError"];
            let message = error["message"].as_str().unwrap_or_default();
            error["reason"] == reason && message.contains(words)
        })
        .await?;
        let stored = record(env, "acme").await?.body;
        ensure!(
            stored["keyring"].is_null() && stored["applied"].is_null(),
            "{stored}"
        );
        Ok(())
    };
    let unusable = "KeyUnusable";
    ask(&stranger, unusable, "does not open with that key").await?;
    ask(&short, unusable, "something else than 32 bytes").await?;
    ask(&vec![b'x'; 20_000], unusable, "far too long").await?;
    let none = json!({ "spec": { "masterKey": { "importFrom": { "kekVersion": null } } } });
    patch(env, "acme", false, "merge", &none.to_string()).await?;
    ask(&short, unusable, "az keyvault key list-versions").await?;
    // Whoever gives up begins with a new key, and who mends it with the old one: by itself.
    let mend = json!({ "spec": { "masterKey": { "importFrom": from } } });
    lend(env, "acme", "acme-wrapped", &key.wrap(&HOME_MADE)).await?;
    patch(env, "acme", false, "merge", &mend.to_string()).await?;
    seen::wait_row(env, "acme", ACTIVE, 2 * SOON).await?;
    ensure!(opened(&world, &record(env, "acme").await?.body)? == HOME_MADE);
    Ok(())
}

#[tokio::test]
async fn the_example() -> Result<()> {
    let world = World::new("exitake").await?;
    let env = &world.env;
    let pinned = example(env, "azure-import.yaml")?;
    let lent = format!(
        r#"tenantCredentials=[{{"namespace":"{}","secrets":["acme-wrapped"]}}]"#,
        env.namespace
    );
    env.upgrade(&[&lent]).await?;
    let _operator = world.operator().await?;
    // The customer's version and the wrapped key are each reader's own.
    let version = world.key.version();
    let manifest = pinned.replace("0123456789abcdef0123456789abcdef", &version);
    ensure!(manifest != pinned, "no version to replace");
    let file = env.dir.path().join("wrapped-key.txt");
    std::fs::write(&file, STANDARD.encode(world.key.wrap(&HOME_MADE)))?;
    let from = format!("--from-file=wrapped={}", file.display());
    let create = ["create", "secret", "generic", "acme-wrapped", &from];
    env.kubectl(&create).await?.success()?;
    let label = [
        "label",
        "secret",
        "acme-wrapped",
        "tenantkms.dev/tenant=acme",
    ];
    env.kubectl(&label).await?.success()?;
    env.apply(&manifest).await?.success()?;
    eventually("Active with the earlier key", 2 * SOON, async || {
        let object = env.tenant("acme").await?;
        Ok(seen::row(&object) == ACTIVE)
    })
    .await?;
    ensure!(opened(&world, &record(env, "acme").await?.body)? == HOME_MADE);
    Ok(())
}
