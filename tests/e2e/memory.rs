//! What is in the operator's memory: master keys in the clear while the customer agrees, and no trace of
//! them afterwards, whatever ended it. Needs root, for nobody else may read it.

mod derived;
mod image;
mod pages;
mod sparse;
mod used;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::{Effect, Fault};
use harness::{Env, Operator};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::faults::town::{Customer, QUICK, SOON, Town, last_proof, value};
use crate::seen::{eventually, record, suspend};
use image::{Find, is_whole, search};

/// How long the operator may run after the seal is told until no trace is left: buffers of a request that
/// was under way.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How old a proof of these tenants may become, in seconds.
const TTL: f64 = 60.0;
/// Of util-linux: takes a capability away.
const SETPRIV: &str = "/usr/bin/setpriv";

/// The master keys of one tenant in the clear, oldest first, as only its customer can get them.
async fn plaintexts(town: &Town, customer: &Customer) -> Result<Vec<Vec<u8>>> {
    let keyring = record(&town.env, &customer.name).await?.body["keyring"].take();
    let kek = keyring["kek"]["version"]
        .as_str()
        .context("a KEK version")?;
    let versions = keyring["versions"].as_array().context("versions")?;
    let open = |version: &Value| {
        let wrapped = STANDARD.decode(version["wrapped"].as_str().context("wrapped")?)?;
        customer.key.open(kek, &wrapped).context("it does not open")
    };
    versions.iter().map(open).collect()
}

/// The customer's key has a new version, and the operator is made to look.
async fn begin_rotation(town: &Town, customer: &Customer) -> Result<()> {
    customer.key.new_version();
    town.request(customer, "verify", "look").await
}

/// A tenant with two master keys, both of which were in memory.
async fn rotated(town: &Town, customer: &Customer) -> Result<Vec<Vec<u8>>> {
    begin_rotation(town, customer).await?;
    eventually("a second master key", SOON, async || {
        let body = record(&town.env, &customer.name).await?.body;
        Ok(body["keyring"]["versions"]
            .as_array()
            .is_some_and(|all| all.len() == 2))
    })
    .await?;
    plaintexts(town, customer).await
}

/// Waits until each of these keys lies in memory as it is, once, and gives what else was found.
async fn in_memory(operator: &Operator, keys: &[Vec<u8>], wanted: &[usize]) -> Result<()> {
    let since = Instant::now();
    loop {
        let found = search(operator, keys)?;
        if wanted.iter().all(|key| is_whole(&found, *key)) {
            return Ok(());
        }
        let missing = "the tenants are active, and yet not all of their keys are in memory";
        ensure!(since.elapsed() < SOON, "{missing}: {found:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until nothing of `key` is left, and gives how long that took.
async fn gone(operator: &Operator, keys: &[Vec<u8>], key: usize, what: &str) -> Result<Duration> {
    let since = Instant::now();
    let mut stopped = Duration::ZERO; // by a search
    loop {
        let begun = since.elapsed();
        let found = search(operator, keys)?;
        let ran = begun.saturating_sub(stopped);
        stopped += since.elapsed().saturating_sub(begun);
        let left: BTreeSet<&Find> = found.iter().filter(|one| one.key == key).collect();
        if left.is_empty() {
            return Ok(ran);
        }
        ensure!(ran < AT_ONCE, "{what}, and yet: {left:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn age(since: f64) -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() - since)
}

/// Takes the shard from the operator, as another replica would that believes it is gone.
async fn take_lease(env: &Env) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(env.client().await?, &env.records_namespace);
    let name = format!("tenant-kms-{}-shard-0", env.installation);
    let now = format!("{:.6}", Timestamp::now());
    let taken = json!({ "spec": { "holderIdentity": "another", "renewTime": now } });
    let params = PatchParams::default();
    leases.patch(&name, &params, &Patch::Merge(taken)).await?;
    Ok(())
}

#[tokio::test]
async fn whatever_ends_a_tenants_use_leaves_no_trace_of_its_master_keys() -> Result<()> {
    let names = ["denied", "suspended", "deleted", "steady", "hanging"];
    let town = Town::new("memory", &names).await?;
    let operator = town.env.operator().await?;
    for customer in &town.customers {
        town.active(customer, QUICK).await?;
    }
    let mut keys = Vec::new();
    for customer in &town.customers {
        keys.extend(rotated(&town, customer).await?);
    }
    // The key of the n-th customer that is in use; the one before it has the number below.
    let in_use = |customer: usize| 2 * customer + 1;
    let all = 0..names.len();
    let used: Vec<usize> = all.clone().map(in_use).collect();
    in_memory(&operator, &keys, &used).await?;
    for customer in all.clone() {
        let retired = in_use(customer) - 1;
        gone(&operator, &keys, retired, "nothing uses the retired key").await?;
    }

    let mut took = Vec::new();
    let [denied, suspended, deleted, _, hanging] = &town.customers[..] else {
        unreachable!("five customers");
    };
    denied.key.disable();
    let sealed = town
        .env
        .wait_condition("denied", "Sealed", "True", Some("KeyDisabled"), SOON);
    sealed.await?;
    took.push(gone(&operator, &keys, in_use(0), "denied").await?);

    suspend(&town.env, &suspended.name, true).await?;
    let phase = |object: &Value| object["status"]["phase"] == "Suspended";
    town.env
        .wait(&suspended.name, "Suspended", SOON, phase)
        .await?;
    took.push(gone(&operator, &keys, in_use(1), "suspended").await?);

    let delete = ["delete", "tkms", &deleted.name];
    town.env.kubectl(&delete).await?.success()?;
    took.push(gone(&operator, &keys, in_use(2), "deleted").await?);

    // Its checks have no answer: the key goes when its proof is too old, and not before.
    town.env
        .cloud
        .fault(Fault::on(&hanging.host(), Effect::Hang));
    in_memory(&operator, &keys, &used[3..]).await?;
    let age = loop {
        let proof = last_proof(&operator, &hanging.name).await?;
        let begun = age(proof)?;
        let found = search(&operator, &keys)?;
        if !found.iter().any(|one| one.key == in_use(4)) {
            break age(proof)?;
        }
        ensure!(
            begun < TTL + 4.0,
            "its proof is {begun:.1} s old, and yet: {found:#?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    ensure!(age > TTL, "gone with a proof of {age:.1} s");
    let sealed = town
        .env
        .wait_condition("hanging", "Sealed", "True", Some("Unreachable"), SOON);
    sealed.await?;
    took.push(gone(&operator, &keys, in_use(4), "sealed by an outage").await?);
    in_memory(&operator, &keys, &used[3..4]).await?;

    take_lease(&town.env).await?;
    eventually("another replica holds the shard", SOON, async || {
        let metrics = operator.metrics().await?;
        Ok(value(&metrics, "tenantkms_holder", "") == Some(0.0))
    })
    .await?;
    took.push(gone(&operator, &keys, in_use(3), "the lease is lost").await?);
    let found = search(&operator, &keys)?;
    ensure!(found.is_empty(), "{found:#?}");
    harness::say(&format!(
        "gone after denial, suspend, deletion, outage, lost lease: {took:?}"
    ));
    Ok(())
}

/// The key that is re-wrapped stands in a request that has no answer when the customer says no.
#[tokio::test]
async fn a_rotation_that_is_broken_off_leaves_no_trace_either() -> Result<()> {
    let town = Town::new("midway", &["acme"]).await?;
    let operator = town.env.operator().await?;
    let acme = &town.customers[0];
    town.active(acme, QUICK).await?;
    let keys = plaintexts(&town, acme).await?;

    let begun = Instant::now();
    let wrap = |effect: Effect| Fault::on(&acme.host(), effect).operation("wrapkey");
    town.env.cloud.fault(wrap(Effect::Hang));
    // The one armed last is hit first: the two probes go through.
    town.env
        .cloud
        .fault(wrap(Effect::Latency(Duration::ZERO)).times(2));
    begin_rotation(&town, acme).await?;
    eventually(
        "the key is on its way to be wrapped again",
        SOON,
        async || {
            let uses = town.uses(acme, begun);
            Ok(uses
                .iter()
                .filter(|call| call.operation == "wrapkey")
                .count()
                == 3)
        },
    )
    .await?;
    let found = search(&operator, &keys)?;
    ensure!(
        found.iter().any(|one| one.form == "base64url"),
        "in the request: {found:#?}"
    );

    acme.key.disable();
    let sealed = town
        .env
        .wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON);
    sealed.await?;
    gone(&operator, &keys, 0, "denied").await?;
    let keyring = record(&town.env, "acme").await?.body["keyring"].take();
    ensure!(keyring["revision"] == 1, "{keyring:#}");
    Ok(())
}

/// The kernel writes no dump, and another process of the same user may not look inside.
#[tokio::test]
async fn no_core_is_dumped_and_only_root_may_look() -> Result<()> {
    let env = Env::new("dumps").await?;
    let mut options = env.operator_options();
    // Neither it nor who looks may look at everything.
    let plain: [OsString; 2] = ["--bounding-set=-sys_ptrace".into(), "--".into()];
    let program = std::mem::replace(&mut options.program, SETPRIV.into());
    options
        .args
        .splice(0..0, plain.iter().cloned().chain([program.into()]));
    let operator = env.spawn(options).await?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", operator.pid()))?;
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core
        .context("a limit")?
        .split_whitespace()
        .skip(4)
        .collect();
    ensure!(core == ["0", "0", "bytes"], "{core:?}");

    // Whether a process of the same user and rights may read what a debugger may.
    let look = |pid: u32| {
        let mut look = Command::new(SETPRIV);
        let link = format!("/proc/{pid}/exe");
        look.args(&plain).args(["readlink", "-v", &link]).output()
    };
    let mut open = Command::new(SETPRIV)
        .args(&plain)
        .args(["sleep", "60"])
        .spawn()?;
    // As soon as it has given the capability up itself.
    let control = eventually("another process can be looked at", SOON, async || {
        Ok(look(open.id())?.status.success())
    })
    .await;
    open.kill()?;
    open.wait()?;
    control?;
    let refused = look(operator.pid())?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(said.contains("Permission denied"), "{said}");
    Ok(())
}
