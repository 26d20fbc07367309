//! `deletionPolicy: Erase`: nothing is destroyed without a confirmation, seven days, and a namespace
//! that lives on; then everything is, and the key belongs to nobody.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::{Component, Env};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{ACTIVE, RARELY, ask, ids, kept, keys_are, open, two_versions, verified, versions};
use crate::faults::film::condition;
use crate::seen::{self, calls, eventually, patch, record, throughout, wait_row};
use crate::support::{SOON, World, manifest};

const CONFIRM: &str = "tenantkms.dev/confirm-erase";
const FINALIZER: &str = "tenantkms.dev/erase";

fn erasing() -> String {
    format!("{}  deletionPolicy: Erase\n", manifest("acme", RARELY))
}

/// Waits as the page says to, before anything is deleted.
async fn guard(env: &Env) -> Result<()> {
    const WAIT: &str = "--for=jsonpath={.metadata.finalizers[0]}=tenantkms.dev/erase";
    let page = include_str!("../../../docs/master-keys.md").replace('\'', "");
    ensure!(page.contains(WAIT), "the page waits by another command");
    let args = ["wait", "tkms/acme", WAIT, "--timeout=1m"];
    env.kubectl(&args).await?.success().map(drop)
}

fn guarded(object: &Value) -> bool {
    object["metadata"]["finalizers"] == json!([FINALIZER])
}

async fn gone(env: &Env, within: Duration) -> Result<()> {
    eventually("the object is gone", within, async || {
        let args = ["get", "tkms", "acme", "--ignore-not-found", "-o", "name"];
        Ok(env.kubectl(&args).await?.success()?.is_empty())
    })
    .await
}

async fn delete(env: &Env) -> Result<()> {
    let args = ["delete", "tkms", "acme", "--wait=false"];
    env.kubectl(&args).await?.success().map(drop)
}

/// A tenant of two versions that is to be erased, as confirmed. Gives its record.
async fn confirmed(world: &World) -> Result<Value> {
    let env = &world.env;
    let body = two_versions(world, RARELY).await?;
    env.apply(&erasing()).await?.success()?;
    ask(env, CONFIRM, &ids(&body)[1]).await?;
    guard(env).await?;
    let now = record(env, "acme").await?.body;
    ensure!(now["keyring"] == body["keyring"]);
    Ok(now)
}

#[tokio::test]
async fn without_the_right_confirmation_everything_is_kept() -> Result<()> {
    let world = World::new("keys-keep").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    let body = two_versions(&world, RARELY).await?;
    let all = ids(&body);
    // None, a wrong one, one of a version that is not active any more.
    for (round, confirm) in [None, Some("yes"), Some(all[0].as_str())]
        .into_iter()
        .enumerate()
    {
        env.apply(&erasing()).await?.success()?;
        if let Some(confirm) = confirm {
            ask(env, CONFIRM, confirm).await?;
        }
        verified(env, &format!("round-{round}")).await?;
        let object = wait_row(env, "acme", ACTIVE, SOON).await?;
        ensure!(object["status"]["effective"]["deletionPolicy"] == "Erase");
        ensure!(object["metadata"]["finalizers"].is_null(), "{confirm:?}");
        let before = record(env, "acme").await?;
        delete(env).await?;
        gone(env, Duration::from_secs(10)).await?;
        ensure!(record(env, "acme").await? == before, "{confirm:?}");
    }
    // The right one and the policy taken back.
    env.apply(&erasing()).await?.success()?;
    ask(env, CONFIRM, &all[1]).await?;
    guard(env).await?;
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    env.wait("acme", "not guarded", SOON, |object| !guarded(object))
        .await?;
    delete(env).await?;
    gone(env, Duration::from_secs(10)).await?;
    ensure!(record(env, "acme").await?.body["keyring"] == body["keyring"]);
    Ok(())
}

#[tokio::test]
async fn a_confirmed_erasure_waits_seven_days_and_can_be_called_off() -> Result<()> {
    let world = World::new("keys-called-off").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    let before = confirmed(&world).await?;
    let counted = calls(env);
    delete(env).await?;
    let object = env
        .wait("acme", "its erasure is announced", SOON, |object| {
            object["status"]["phase"] == "Suspended" && seen::reason(object, "Ready") == "Erasing"
        })
        .await?;
    let deleted = object["metadata"]["deletionTimestamp"].as_str();
    let deleted: Timestamp = deleted.context("deleted")?.parse()?;
    let end = deleted + SignedDuration::from_hours(7 * 24);
    for kind in ["Ready", "Active"] {
        let said = condition(&object, kind).context("said")?;
        let message = said["message"].as_str().unwrap_or_default();
        ensure!(said["status"] == "False" && said["reason"] == "Erasing");
        let keep = format!(
            "tkms 'acme' --namespace '{}' tenantkms.dev/confirm-erase-",
            env.namespace
        );
        ensure!(
            message.contains(&end.to_string()) && message.contains(&keep),
            "{message}"
        );
    }
    ensure!(condition(&object, "Sealed").is_some_and(|one| one["status"] == "False"));
    throughout(Duration::from_secs(5), async || {
        ensure!(calls(env) == counted, "a call for a deleted tenant");
        ensure!(record(env, "acme").await?.body == before);
        ensure!(guarded(&env.tenant("acme").await?));
        Ok(())
    })
    .await?;

    let change = json!({ "metadata": { "annotations": { CONFIRM: null } } });
    patch(env, "acme", false, "merge", &change.to_string()).await?;
    gone(env, SOON).await?;
    ensure!(
        record(env, "acme").await?.body == before,
        "the keys are kept"
    );
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    let active = wait_row(env, "acme", ACTIVE, SOON).await?;
    let known = ids(&before);
    ensure!(active["status"]["masterKeys"][0]["id"] == known[1].as_str());
    let after = record(env, "acme").await?.body;
    ensure!(after["keyring"] == before["keyring"]);
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_ends_takes_no_master_key_with_it() -> Result<()> {
    // Rights of the whole cluster: a Role in the namespace may be gone before the tenant is.
    let world = World::of(Env::everywhere("keys-namespace").await?);
    let env = &world.env;
    let _operator = world.operator().await?;
    let before = confirmed(&world).await?;
    let args = ["delete", "namespace", &env.namespace, "--wait=false"];
    env.control.kubectl(&args).await?.success()?;
    eventually("the namespace is gone", 3 * SOON, async || {
        let args = [
            "get",
            "namespace",
            &env.namespace,
            "--ignore-not-found",
            "-o=name",
        ];
        Ok(env.control.kubectl(&args).await?.success()?.is_empty())
    })
    .await?;
    let after = record(env, "acme").await?.body;
    ensure!(after["keyring"] == before["keyring"], "{}", kept(&after));
    ensure!(open(&world.key, &after)?.len() == 2);
    Ok(())
}

/// The address of the control plane's etcd, which nobody else tells.
fn etcd(env: &Env) -> Result<String> {
    let pid = env.control.pid(Component::Etcd);
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    let mut args = line.split('\0');
    let address = args.find_map(|arg| arg.strip_prefix("--listen-client-urls="));
    Ok(address.context("an address")?.to_owned())
}

/// Moves the object's deletion into the past, which only etcd's owner can.
async fn deleted_before(env: &Env, then: Timestamp) -> Result<()> {
    let (etcd, http) = (etcd(env)?, reqwest::Client::builder().no_proxy().build()?);
    let key = format!("/registry/tenantkms.dev/tenantkmses/{}/acme", env.namespace);
    let key = STANDARD.encode(key);
    let call = async |what: &str, body: Value| -> Result<Value> {
        let request = http.post(format!("{etcd}/v3/kv/{what}")).json(&body);
        let answer = request.send().await?.error_for_status()?;
        Ok(answer.json().await?)
    };
    let read = call("range", json!({ "key": key })).await?;
    let value = read["kvs"][0]["value"].as_str().context("the object")?;
    let mut object: Value = serde_json::from_slice(&STANDARD.decode(value)?)?;
    ensure!(object["metadata"]["deletionTimestamp"].is_string());
    let seconds = Timestamp::from_second(then.as_second())?;
    object["metadata"]["deletionTimestamp"] = json!(seconds);
    let value = STANDARD.encode(object.to_string());
    call("put", json!({ "key": key, "value": value }))
        .await
        .map(drop)
}

#[tokio::test]
async fn after_seven_days_every_version_is_gone_and_the_key_is_nobodys() -> Result<()> {
    let world = World::new("keys-gone").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    let before = confirmed(&world).await?;
    let counted = calls(env);
    delete(env).await?;
    env.wait("acme", "announced", SOON, |object| {
        seen::reason(object, "Ready") == "Erasing"
    })
    .await?;
    // Six days are not enough.
    let days = |days: i64| Timestamp::now() - SignedDuration::from_hours(24 * days);
    let then = days(6);
    deleted_before(env, then).await?;
    let soon = (then + SignedDuration::from_hours(7 * 24)).to_string();
    let day = &soon[..10];
    env.wait("acme", "tomorrow", SOON, |object| {
        condition(object, "Ready").is_some_and(|one| one["message"].to_string().contains(day))
    })
    .await?;
    ensure!(record(env, "acme").await?.body == before);

    deleted_before(env, days(8)).await?;
    gone(env, SOON).await?;
    let after = record(env, "acme").await?;
    ensure!(
        kept(&after.body) == "1 erased, 2 erased",
        "{}",
        kept(&after.body)
    );
    ensure!(
        versions(&after.body)
            .iter()
            .all(|one| one["wrapped"].is_null())
    );
    ensure!(after.body["claim"].is_null() && after.body["applied"].is_null());
    ensure!(
        after.body["sealEpoch"] == 1,
        "no session of before lives on"
    );
    let path = "-o=jsonpath={.metadata.labels}";
    let args = [
        "get",
        "secret",
        &after.secret,
        "--namespace",
        &env.records_namespace,
        path,
    ];
    let labels = env.control.kubectl(&args).await?.success()?;
    ensure!(!labels.contains("tenantkms.dev/claim"), "{labels}");
    ensure!(calls(env) == counted, "erasing asks nobody");

    // Whoever comes back begins anew, and no number is given twice.
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    let body = keys_are(env, "1 erased, 2 erased, 3 active", SOON).await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    ensure!(!ids(&before).contains(&ids(&body)[2]) && open(&world.key, &body)?.len() == 1);
    ensure!(body["tenantUid"] == before["tenantUid"] && body["claim"].is_string());
    Ok(())
}
