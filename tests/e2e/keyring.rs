//! Master keys on a real control plane, seen from outside: objects, records as plain JSON, the
//! calls that the cloud counted, and the blobs opened with the fake cloud's own private keys.

mod across;
mod begin;
mod corrupt;
mod erase;
mod erased_ids;
mod everywhere;
mod full;
mod kek;
mod migrate;
mod recreate;
mod restore;
mod rotate;
mod upgrade;
mod wrap_denied;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::Key;
use harness::Env;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::lifecycle::damage;
use crate::seen::{patch, record};
use crate::support::{SOON, World};

pub use crate::lifecycle::{ACTIVE, FAILED, RARELY};

pub const OFTEN: &str = "{ interval: 5s, proofTTL: 1m }";
pub const REFUSED: &str =
    "Active: Ready=False Active=True Sealed=False ConfigAccepted=False Stalled=True";
pub const SEALED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Stalled=True";
pub const VERIFY: &str = "tenantkms.dev/verify-requested-at";
pub const UNSEAL: &str = "tenantkms.dev/unseal-requested-at";
pub const ROTATE: &str = "tenantkms.dev/rotate-requested-at";

/// The versions in a record, oldest first.
pub fn versions(body: &Value) -> &[Value] {
    let versions = body["keyring"]["versions"].as_array();
    versions.map_or(&[], Vec::as_slice)
}

pub fn ids(body: &Value) -> Vec<String> {
    each(body, "id")
}

pub fn commitments(body: &Value) -> Vec<String> {
    each(body, "commitment")
}

fn each(body: &Value, field: &str) -> Vec<String> {
    let text = |one: &Value| one[field].as_str().unwrap_or_default().to_owned();
    versions(body).iter().map(text).collect()
}

/// `1 retired, 2 active`, as a record or a status has it.
fn states<'a>(all: impl Iterator<Item = &'a Value>, number: &str) -> String {
    let mut text = String::new();
    for one in all {
        let comma = if text.is_empty() { "" } else { ", " };
        let state = one["state"].as_str().unwrap_or_default();
        let _ = write!(text, "{comma}{} {state}", one[number]);
    }
    text
}

pub fn kept(body: &Value) -> String {
    states(versions(body).iter(), "number")
}

/// The same from `status.masterKeys`, which tells the newest first.
pub fn told(object: &Value) -> String {
    let all = object["status"]["masterKeys"].as_array();
    states(all.into_iter().flatten().rev(), "version")
}

/// Waits until the status tells these versions; the record must hold the same. Gives the record.
pub async fn keys_are(env: &Env, wanted: &str, within: Duration) -> Result<Value> {
    env.wait("acme", wanted, within, |object| told(object) == wanted)
        .await?;
    let body = record(env, "acme").await?.body;
    ensure!(kept(&body) == wanted, "{}", kept(&body));
    Ok(body)
}

/// Opens every live version of a record with the customer's private key, of the one version of it
/// that the record names.
pub fn open(key: &Key, body: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let kek = body["keyring"]["kek"]["version"]
        .as_str()
        .context("no version")?;
    let mut opened = BTreeMap::new();
    for (one, id) in versions(body).iter().zip(ids(body)) {
        let Some(wrapped) = one["wrapped"].as_str() else {
            ensure!(one["state"] == "erased", "a live version without a blob");
            continue;
        };
        let bytes = key.open(kek, &STANDARD.decode(wrapped)?);
        let bytes = bytes.with_context(|| format!("{id} is not wrapped by {kek}"))?;
        ensure!(bytes.len() == 32, "{id} has {} bytes", bytes.len());
        opened.insert(id, bytes);
    }
    Ok(opened)
}

/// Asks for something by annotation.
pub async fn ask(env: &Env, annotation: &str, value: &str) -> Result<()> {
    let change = json!({ "metadata": { "annotations": { annotation: value } } });
    patch(env, "acme", false, "merge", &change.to_string()).await
}

/// Asks for a verification and waits until it is carried out.
pub async fn verified(env: &Env, value: &str) -> Result<Value> {
    ask(env, VERIFY, value).await?;
    handled(env, "verifyRequestedAt", value).await
}

pub async fn handled(env: &Env, request: &str, value: &str) -> Result<Value> {
    let done = |object: &Value| object["status"]["handledRequests"][request] == value;
    env.wait("acme", &format!("{request} {value}"), SOON, done)
        .await
}

pub async fn spec(env: &Env, change: Value) -> Result<()> {
    let change = json!({ "spec": change }).to_string();
    patch(env, "acme", false, "merge", &change).await
}

/// Changes a record as an administrator who breaks the glass.
pub async fn rewrite(env: &Env, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut body = record(env, name).await?.body;
    change(&mut body);
    damage(env, name, &body.to_string()).await
}

/// Makes the active version older than it is. The operator must not run meanwhile.
pub async fn age(env: &Env, hours: i64) -> Result<()> {
    let then = Timestamp::now() - SignedDuration::from_hours(hours);
    rewrite(env, "acme", |body| {
        let versions = body["keyring"]["versions"].as_array_mut();
        for version in versions.into_iter().flatten() {
            if version["state"] == "active" {
                version["created"] = json!(then);
            }
        }
    })
    .await
}

/// Makes the retired versions ones that may be erased, and waits until the operator has read so.
pub async fn long_retired(env: &Env, value: &str) -> Result<()> {
    env.long_retired("acme").await?;
    verified(env, value).await.map(drop)
}

/// A tenant of two versions, for the customer has rotated its key.
pub async fn two_versions(world: &World, verify: &str) -> Result<Value> {
    world.active(verify).await?;
    new_kek(world, "1 retired, 2 active").await
}

/// The customer rotates its key, and somebody asks to look at it.
pub async fn new_kek(world: &World, wanted: &str) -> Result<Value> {
    let version = world.key.new_version();
    ask(&world.env, VERIFY, &version).await?;
    keys_are(&world.env, wanted, SOON).await
}
