//! What the operator's own identity is given is one for all tenants that use it. While the metadata service hangs,
//! who needs a fresh one waits for it, and nobody else does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fakecloud::{Call, Effect, Fault, IMDS_HOST, METADATA_HOST};
use harness::{Cloud, Customer, Env, Identity};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::faults::film::{Film, tenants};
use crate::seen::eventually;
use crate::support::SOON;

/// What the operator takes for fresh, and how long it waits for one: as long as from check to check.
const FRESH: Duration = Duration::from_secs(10);
const HANG: Duration = Duration::from_secs(5);
/// Who comes so long after a fetch that hangs has not waited for it.
const HANGING: Duration = Duration::from_millis(4_800);
/// Fetches that hang, one after the other: all while what is held is good.
const HANGS: usize = 4;

fn often() -> Value {
    json!({ "interval": "5s", "proofTTL": "1m" })
}

#[tokio::test]
async fn a_hanging_instance_metadata_service_delays_no_check() -> Result<()> {
    delays_no_check(Cloud::Aws, IMDS_HOST, "imds-session").await
}

#[tokio::test]
async fn a_hanging_metadata_server_delays_no_check() -> Result<()> {
    delays_no_check(Cloud::Gcp, METADATA_HOST, "metadata-token").await
}

async fn delays_no_check(cloud: Cloud, host: &str, fetch: &str) -> Result<()> {
    let env = Env::new(&format!("idshared-{cloud}")).await?;
    let issuer = env.issuer().await?;
    let customer = |name: &str| Customer::new(&env, cloud, name, Identity::Own, &issuer);
    let holder = customer("holder")?;
    let denied = ["denied-0", "denied-1", "denied-2"].map(customer);
    let denied = denied.into_iter().collect::<Result<Vec<_>>>()?;
    env.configure([&holder].into_iter().chain(&denied));
    let _operator = env.operator().await?;
    for customer in [&holder].into_iter().chain(&denied) {
        env.bring(customer, often()).await?;
    }
    for customer in &denied {
        customer.say_no();
        env.wait_condition(&customer.name, "Sealed", "True", Some("AccessDenied"), SOON)
            .await?;
    }
    let fetches = || -> Vec<Call> {
        let calls = env.cloud.calls().into_iter();
        calls.filter(|call| call.is(host, fetch)).collect()
    };
    // From now on only who is not denied has an answer that is a yes.
    let checks = || -> Vec<Instant> {
        let calls = env.cloud.calls().into_iter();
        let checks = calls.filter(|call| call.status == 200 && holder.is_checked_by(call));
        checks.map(|call| call.instant).collect()
    };
    eventually("what is held is fresh no more", 3 * SOON, async || {
        let last = fetches().last().map(|call| call.instant.elapsed());
        Ok(last.is_some_and(|age| age > FRESH && age < 2 * FRESH))
    })
    .await?;

    let film = Film::start(&env, &holder.name).await?;
    let since = Instant::now();
    env.cloud
        .fault(Fault::on(host, Effect::Hang).operation(fetch));
    let waited_for = async || {
        let begun = Instant::now();
        for customer in &denied {
            env.ask(&customer.name, "verify").await?;
        }
        let fetch = |call: &Call| call.instant > begun && call.is(host, fetch);
        let fetch = env.cloud.wait_for_call(fetch, 2 * SOON).await;
        Ok::<_, anyhow::Error>(fetch.context("nobody waits")?.instant)
    };
    let mut hanging = Vec::new();
    for _ in 0..HANGS {
        hanging.push(waited_for().await?);
    }
    // The last one has only just begun. Checks are up to 5 s apart: one fetch may have missed them.
    hanging.pop();
    let during = |fetch: Instant| fetch..fetch + HANGING;
    let undelayed = |fetch: &&Instant| checks().iter().any(|at| during(**fetch).contains(at));
    let undelayed = hanging.iter().filter(undelayed).count();
    ensure!(
        undelayed + 1 >= hanging.len(),
        "checked during {undelayed} of {} fetches",
        hanging.len()
    );
    film.always_active()?;
    film.unmoved()?;

    // Nor is there a wait for who has nothing of its own any more.
    let objects = tenants(env.client().await?, &env.namespace);
    let suspend = async |suspend: bool| {
        let patch = Patch::Merge(json!({ "spec": { "suspend": suspend } }));
        let params = PatchParams::default();
        objects.patch(&holder.name, &params, &patch).await.map(drop)
    };
    let is = |object: &Value, phase: &str| object["status"]["phase"] == phase;
    suspend(true).await?;
    env.wait("holder", "suspended", SOON, |object| {
        is(object, "Suspended")
    })
    .await?;
    let fetch = waited_for().await?;
    suspend(false).await?;
    env.wait("holder", "resumed", SOON, |object| is(object, "Active"))
        .await?;
    let check = checks().into_iter().find(|check| *check > fetch);
    let check = check.context("nobody checked it")?;
    ensure!(
        during(fetch).contains(&check),
        "{:?} after a fetch that hangs",
        check - fetch
    );

    let most = since.elapsed().as_secs() / HANG.as_secs() + 1;
    let asked = fetches().into_iter().filter(|call| call.instant > since);
    let asked = u64::try_from(asked.count())?;
    ensure!(asked <= most, "{asked} fetches instead of {most}");

    env.cloud.clear_faults();
    for customer in &denied {
        customer.say_yes();
        env.ask(&customer.name, "unseal").await?;
        env.wait_condition(&customer.name, "Active", "True", Some("Verified"), SOON)
            .await?;
    }
    Ok(())
}
