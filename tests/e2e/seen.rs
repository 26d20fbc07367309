//! What a test looks at besides the object itself: the record, the calls the cloud counted, and
//! the writes the API server audited. Nothing here goes through the product's own types.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use harness::Env;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A tenant's record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub secret: String,
    pub version: String,
    /// `Null` when it is no JSON.
    pub body: Value,
}

/// The record of `name` in the tenants' namespace.
pub async fn record(env: &Env, name: &str) -> Result<Record> {
    let secrets: Api<Secret> = Api::namespaced(env.client().await?, &env.records_namespace);
    let labels = format!(
        "tenantkms.dev/tenant-namespace={},tenantkms.dev/tenant-name={name}",
        env.namespace
    );
    let mut found = secrets.list(&ListParams::default().labels(&labels)).await?;
    if found.items.len() != 1 {
        bail!("{} records for {name}", found.items.len());
    }
    let secret = found.items.remove(0);
    let body = secret
        .data
        .as_ref()
        .and_then(|data| data.get("record.json"))
        .context("no record.json")?;
    Ok(Record {
        body: serde_json::from_slice(&body.0).unwrap_or_default(),
        secret: secret.metadata.name.unwrap_or_default(),
        version: secret.metadata.resource_version.unwrap_or_default(),
    })
}

/// How often the cloud was asked, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub tokens: usize,
    pub wraps: usize,
    pub unwraps: usize,
}

pub fn calls(env: &Env) -> Calls {
    Calls {
        tokens: env.cloud.count("*", "token"),
        wraps: env.cloud.count("*", "wrapkey"),
        unwraps: env.cloud.count("*", "unwrapkey"),
    }
}

/// The writes of the operator except its Lease's renewals: verb, resource and subresource.
pub fn writes(env: &Env) -> Result<Vec<String>> {
    let all = env.operator_writes()?;
    let named = all.iter().map(|event| {
        let object = &event["objectRef"];
        let part = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        (part("resource"), part("subresource"), event["verb"].clone())
    });
    Ok(named
        .filter(|(resource, ..)| resource != "leases")
        .map(|(resource, sub, verb)| format!("{verb} {resource}/{sub}"))
        .collect())
}

/// One line for one row of the design's table, such as
/// `Active: Ready=True Active=True Sealed=False ConfigAccepted=True`, with what is going on.
/// `KeyAtRisk` stands beside the rows; its own tests look at it.
pub fn row(object: &Value) -> String {
    let mut row = object["status"]["phase"]
        .as_str()
        .unwrap_or("none")
        .to_owned();
    let listed = object["status"]["conditions"].as_array();
    let conditions: Vec<&Value> = listed.into_iter().flatten().collect();
    row.push(':');
    for condition in conditions.iter().filter(|one| one["type"] != "KeyAtRisk") {
        let part = |name: &str| condition[name].as_str().unwrap_or_default();
        let _ = write!(row, " {}={}", part("type"), part("status"));
    }
    row
}

/// The reason of a condition.
pub fn reason<'a>(object: &'a Value, type_: &str) -> &'a str {
    let all = object["status"]["conditions"].as_array();
    all.into_iter()
        .flatten()
        .find(|one| one["type"] == type_)
        .and_then(|one| one["reason"].as_str())
        .unwrap_or_default()
}

/// Waits until the object shows this row, and gives it. Every condition must speak of the
/// object's present generation.
pub async fn wait_row(env: &Env, name: &str, wanted: &str, within: Duration) -> Result<Value> {
    env.wait(name, wanted, within, |object| {
        let generation = &object["metadata"]["generation"];
        let all = object["status"]["conditions"].as_array();
        row(object) == wanted
            && all
                .into_iter()
                .flatten()
                .all(|one| one["observedGeneration"] == *generation)
    })
    .await
}

/// Looks again and again until `check` says yes.
pub async fn eventually(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut ticks = Box::pin(ticks());
    while ticks.next().await.is_some() {
        if check().await? {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("not within {within:?}: {what}");
        }
    }
    Ok(())
}

/// Looks for the whole window whether `check` ever fails: for claims that something does not happen.
pub async fn throughout(
    window: Duration,
    mut check: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + window;
    let mut ticks = Box::pin(ticks());
    while ticks.next().await.is_some() && Instant::now() < deadline {
        check().await?;
    }
    check().await
}

fn ticks() -> impl futures::Stream<Item = ()> {
    futures::stream::unfold(
        tokio::time::interval(Duration::from_millis(200)),
        |mut ticks| async {
            ticks.tick().await;
            Some(((), ticks))
        },
    )
}

/// Patches the object as an administrator: `status` says whether its status or the rest.
pub async fn patch(env: &Env, name: &str, status: bool, kind: &str, patch: &str) -> Result<()> {
    let (kind, patch) = (format!("--type={kind}"), format!("--patch={patch}"));
    let mut args = vec!["patch", "tkms", name, &kind, &patch];
    if status {
        args.push("--subresource=status");
    }
    env.kubectl(&args).await?.success().map(drop)
}

/// Suspends the tenant, or lets it go on.
pub async fn suspend(env: &Env, name: &str, on: bool) -> Result<()> {
    let change = json!({ "spec": { "suspend": on } }).to_string();
    patch(env, name, false, "merge", &change).await
}
