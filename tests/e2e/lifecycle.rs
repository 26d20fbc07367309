//! What outlives an object: its seal, its record, and the binding to its namespace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::Env;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::seen::{self, patch, record, throughout, wait_row};
use crate::support::{SOON, World, manifest};

pub const ACTIVE: &str = "Active: Ready=True Active=True Sealed=False ConfigAccepted=True";
const SEALED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Stalled=True";
pub const FAILED: &str =
    "Pending: Ready=False Active=False Sealed=False ConfigAccepted=False Stalled=True";
/// So long that no check is due within a test.
pub const RARELY: &str = "{ interval: 150s, proofTTL: 5m }";
const OFTEN: &str = "{ interval: 5s, proofTTL: 1m }";

#[tokio::test]
async fn deleting_and_creating_again_unseals_nothing() -> Result<()> {
    let world = World::new("recreated").await?;
    let _operator = world.operator().await?;
    world.active(OFTEN).await?;
    world.key.disable();
    let sealed = wait_row(&world.env, "acme", SEALED, SOON).await?;
    let stored = record(&world.env, "acme").await?;

    world
        .env
        .kubectl(&["delete", "tkms", "acme"])
        .await?
        .success()?;
    world.env.apply(&manifest("acme", OFTEN)).await?.success()?;
    let mut active = false;
    let again = world
        .env
        .wait("acme", "sealed again", SOON, |object| {
            active |= object["status"]["phase"] == "Active";
            seen::row(object) == SEALED && object["metadata"]["uid"] != sealed["metadata"]["uid"]
        })
        .await?;
    ensure!(!active, "Active without a proof");
    ensure!(again["status"]["sealedSince"] == sealed["status"]["sealedSince"]);
    ensure!(
        record(&world.env, "acme").await? == stored,
        "the same seal, the same epoch"
    );
    throughout(Duration::from_secs(5), async || {
        let now = world.env.tenant("acme").await?;
        ensure!(seen::row(&now) == SEALED, "{}", seen::row(&now));
        Ok(())
    })
    .await?;

    // What was meant for the former object, as each of the operator's writes says whose it is.
    let of = &sealed["metadata"]["uid"];
    let late = json!([
        { "op": "test", "path": "/metadata/uid", "value": of },
        { "op": "add", "path": "/status", "value": { "phase": "Active" } },
    ]);
    let late = patch(&world.env, "acme", true, "json", &late.to_string()).await;
    let said = late.err().context("written to another object")?.to_string();
    ensure!(said.contains("request is invalid"), "{said}");

    world.key.enable();
    wait_row(&world.env, "acme", ACTIVE, 2 * SOON).await?;
    let now = record(&world.env, "acme").await?.body;
    ensure!(
        now["tenantUid"] == stored.body["tenantUid"] && now["sealEpoch"] == 1,
        "{now}"
    );
    Ok(())
}

/// Role and `RoleBinding` of the operator in the tenants' namespace, to be applied in another.
pub async fn rights(world: &World, namespace: &str) -> Result<String> {
    let args = ["get", "roles,rolebindings", "-o", "json"];
    let mut list: Value = serde_json::from_str(&world.env.kubectl(&args).await?.success()?)?;
    for item in list["items"].as_array_mut().into_iter().flatten() {
        let name = item["metadata"]["name"].clone();
        item["metadata"] = json!({ "name": name, "namespace": namespace });
    }
    Ok(list.to_string())
}

#[tokio::test]
async fn a_new_owner_of_the_namespaces_name_inherits_nothing() -> Result<()> {
    let world = World::new("foreign").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let stored = record(env, "acme").await?;
    let rights = rights(&world, &env.namespace).await?;

    let control = &env.control;
    control
        .kubectl(&["delete", "namespace", &env.namespace])
        .await?
        .success()?;
    control
        .kubectl(&["create", "namespace", &env.namespace])
        .await?
        .success()?;
    control
        .kubectl_stdin(&["apply", "-f", "-"], &rights)
        .await?
        .success()?;
    let counted = env.cloud.calls().len();
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    let foreign = wait_row(env, "acme", FAILED, SOON).await?;
    ensure!(
        seen::reason(&foreign, "Ready") == "KeyringForeign",
        "{foreign:#}"
    );
    throughout(Duration::from_secs(5), async || {
        ensure!(
            env.cloud.calls().len() == counted,
            "a call for the new owner"
        );
        Ok(())
    })
    .await?;
    ensure!(
        record(env, "acme").await? == stored,
        "the old owner's record stays"
    );
    Ok(())
}

/// Lets an administrator change and delete records, which the chart's policy refuses otherwise. It
/// takes a moment to be known.
pub async fn break_glass(env: &Env) -> Result<()> {
    let broken = "tenantkms.dev/break-glass=test";
    let namespace = &env.records_namespace;
    let args = ["annotate", "namespace", namespace, broken, "--overwrite"];
    env.control.kubectl(&args).await?.success().map(drop)
}

/// Changes the stored record of a tenant by hand.
pub async fn damage(env: &Env, tenant: &str, body: &str) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(env.client().await?, &env.records_namespace);
    break_glass(env).await?;
    let name = record(env, tenant).await?.secret;
    let change = json!({ "stringData": { "record.json": body } });
    seen::eventually("the record may be written", SOON, async || {
        let changed = secrets
            .patch(&name, &PatchParams::default(), &Patch::Merge(&change))
            .await;
        match changed {
            Err(kube::Error::Api(refused)) if refused.code == 403 => Ok(false),
            changed => Ok(changed.map(|_| true)?),
        }
    })
    .await
}

#[tokio::test]
async fn a_record_that_cannot_be_used_stops_everything_but_the_report() -> Result<()> {
    let world = World::new("damaged").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    operator.terminate().await?;
    let stored = record(env, "acme").await?;
    let mut newer = stored.body.clone();
    newer["format"] = json!(99);
    let whole = stored.body.to_string();
    let half = whole.split_at(whole.len() / 2).0.to_owned();
    let other = whole.replace(&format!("{}/acme", env.namespace), "somebody/else");

    for (body, reason) in [
        (newer.to_string(), "KeyringTooNew"),
        (half, "KeyringCorrupt"),
        (other, "KeyringCorrupt"),
    ] {
        damage(env, "acme", &body).await?;
        let counted = env.cloud.calls().len();
        let operator = world.operator().await?;
        let refused = wait_row(env, "acme", FAILED, SOON).await?;
        ensure!(seen::reason(&refused, "Ready") == reason, "{refused:#}");
        throughout(Duration::from_secs(4), async || {
            ensure!(
                env.cloud.calls().len() == counted,
                "a call without a record: {reason}"
            );
            Ok(())
        })
        .await?;
        operator.terminate().await?;
        patch(
            env,
            "acme",
            true,
            "json",
            r#"[{"op":"remove","path":"/status"}]"#,
        )
        .await?;
    }
    // What the message says mends it, and nobody has to restart anything.
    let _operator = world.operator().await?;
    wait_row(env, "acme", FAILED, SOON).await?;
    damage(env, "acme", &whole).await?;
    wait_row(env, "acme", ACTIVE, 3 * SOON).await?;
    Ok(())
}
