//! Tenants of three clouds under one operator: what befalls one cloud or one customer says nothing about the
//! others, and no cloud opens for one tenant what it wrapped for another.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fakecloud::{Call, Effect, Fault};
use harness::{Cloud, Customer, Env, Identity};
use serde_json::{Value, json};

use crate::faults::film::Film;
use crate::keyring::versions;
use crate::lifecycle::damage;
use crate::seen::{eventually, record};
use crate::support::SOON;

/// Of each cloud, so many that somebody would have to wait if they did.
const MANY: usize = 10;
/// Long enough that every other tenant is checked often while a cloud hangs.
const PROOF_TTL: Duration = Duration::from_mins(5);
const CHECKS: usize = 3;

fn often() -> Value {
    json!({ "interval": "5s", "proofTTL": "1m" })
}

/// One customer of each cloud, let in by `identity`.
async fn one_each(env: &Env, identity: Identity) -> Result<Vec<Customer>> {
    let issuer = env.issuer().await?;
    let mut customers = Vec::new();
    for cloud in Cloud::ALL {
        let name = format!("in-{cloud}");
        if identity == Identity::ServiceAccount {
            env.lend(&name, &format!("{name}-kms")).await?;
        }
        customers.push(Customer::new(env, cloud, &name, identity, &issuer)?);
    }
    env.configure(&customers);
    Ok(customers)
}

#[tokio::test]
async fn a_no_in_one_cloud_is_obeyed_and_is_nobody_elses() -> Result<()> {
    for (name, identity) in [
        ("clouds", Identity::Given),
        ("clouds-lent", Identity::ServiceAccount),
        ("clouds-own", Identity::Own),
    ] {
        let env = Env::new(name).await?;
        let customers = one_each(&env, identity).await?;
        let _operator = env.operator().await?;
        for customer in &customers {
            env.bring(customer, often()).await?;
        }
        for customer in &customers {
            let mut others = Vec::new();
            for other in customers.iter().filter(|one| one.name != customer.name) {
                others.push(Film::start(&env, &other.name).await?);
            }
            let is = |condition, reason| {
                env.wait_condition(&customer.name, condition, "True", Some(reason), 2 * SOON)
            };
            customer.say_no();
            is("Sealed", "AccessDenied").await?;
            customer.say_yes();
            env.ask(&customer.name, "unseal").await?;
            is("Active", "Verified").await?;
            customer.disable();
            is("Sealed", "KeyDisabled").await?;
            customer.enable();
            env.ask(&customer.name, "unseal").await?;
            is("Active", "Verified").await?;
            for film in others {
                film.always_active()?;
                film.unmoved()?;
            }
        }
    }
    Ok(())
}

/// While a request to this cloud waits for nothing, and until it is tried again, every tenant of the other
/// clouds is checked; and often before the first of this one's tenants is sealed.
#[tokio::test]
async fn a_cloud_that_hangs_keeps_no_other_waiting() -> Result<()> {
    let env = Env::new("clouds-hang").await?;
    let issuer = env.issuer().await?;
    let mut all = Vec::new();
    for cloud in Cloud::ALL {
        for number in 0..MANY {
            let name = format!("{cloud}-{number}");
            all.push(Customer::new(&env, cloud, &name, Identity::Given, &issuer)?);
        }
    }
    env.configure(&all);
    let _operator = env.operator().await?;
    for customer in &all {
        let verify = json!({ "interval": "5s", "proofTTL": "5m" });
        env.bring(customer, verify).await?;
    }
    for hung in Cloud::ALL {
        let since = Instant::now();
        for customer in all.iter().filter(|one| one.cloud == hung) {
            for host in customer.hosts() {
                env.cloud.fault(Fault::on(&host, Effect::Hang));
            }
        }
        let mut films = Vec::new();
        for cloud in Cloud::ALL.into_iter().filter(|cloud| *cloud != hung) {
            films.push(Film::start(&env, &format!("{cloud}-0")).await?);
        }
        let (these, others): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.cloud == hung);
        let checks = |calls: &[Call], customer: &Customer, status| {
            let checked = |call: &&Call| {
                call.instant > since && call.status == status && customer.is_checked_by(call)
            };
            let checks = calls.iter().filter(checked).map(|call| call.instant);
            checks.collect::<Vec<_>>()
        };
        eventually("the others are checked", PROOF_TTL, async || {
            let calls = env.cloud.calls();
            let checked = |one: &&Customer| checks(&calls, one, 200).len() >= CHECKS;
            let tried_again = |one: &&Customer| checks(&calls, one, 0).len() > 1;
            Ok(others.iter().all(checked) && these.iter().all(tried_again))
        })
        .await?;
        let calls = env.cloud.calls();
        for customer in &these {
            let name = &customer.name;
            let waits = checks(&calls, customer, 0);
            for other in &others {
                let mut checks = checks(&calls, other, 200).into_iter();
                ensure!(
                    checks.any(|at| waits[0] < at && at < waits[1]),
                    "{} waited for {name}",
                    other.name
                );
            }
            let object = env.tenant(name).await?;
            ensure!(object["status"]["phase"] == "Active", "{name}: {object}");
        }
        for film in films {
            film.always_active()?;
            film.unmoved()?;
        }
        env.cloud.clear_faults();
        eventually("everybody is checked again", 2 * SOON, async || {
            let calls = env.cloud.calls();
            let mut these = these.iter();
            Ok(these.all(|one| !checks(&calls, one, 200).is_empty()))
        })
        .await?;
    }
    Ok(())
}

/// What AWS and Google wrapped for one tenant they do not open for another, though both may use the key. (In
/// Azure, which binds nothing, the commitment tells: keyring/corrupt.rs.)
#[tokio::test]
async fn a_blob_of_one_tenant_opens_for_no_other() -> Result<()> {
    for cloud in [Cloud::Aws, Cloud::Gcp] {
        let env = Env::new("clouds-swap").await?;
        let issuer = env.issuer().await?;
        let first = Customer::new(&env, cloud, "acme", Identity::Given, &issuer)?;
        let other = Customer::new(&env, cloud, "globex", Identity::Given, &issuer)?;
        // One key for both.
        let mut manifest = other.manifest();
        manifest["spec"]["kmsKeyRef"] = json!(first.key());
        let other = Customer::of(&env, &manifest, &issuer)?;
        let both = [first, other];
        env.configure(&both);
        let operator = env.operator().await?;
        let mut whole = Vec::new();
        for customer in &both {
            env.bring(customer, often()).await?;
            whole.push(record(&env, &customer.name).await?.body);
        }
        operator.terminate().await?;
        let mut swapped = whole.clone();
        for (body, from) in swapped.iter_mut().zip(whole.iter().rev()) {
            // The commitment too: nothing but the cloud is left to tell.
            for field in ["wrapped", "commitment"] {
                let versions = body["keyring"]["versions"].as_array_mut();
                let version = versions.and_then(|all| all.last_mut());
                let last = versions_of(from)?;
                version.context("a version")?[field] = last[field].clone();
            }
        }
        for (customer, body) in both.iter().zip(&swapped) {
            damage(&env, &customer.name, &body.to_string()).await?;
        }
        let since = Instant::now();
        let _operator = env.operator().await?;
        for customer in &both {
            let first = |call: &Call| {
                call.instant > since && call.status != 0 && customer.is_checked_by(call)
            };
            let call = env.cloud.wait_for_call(first, SOON).await?;
            ensure!(call.status == 400, "{}: {call:?}", customer.name);
            let told =
                |object: &Value| object["status"]["lastVerifyError"]["reason"] == "KeyringCorrupt";
            env.wait(&customer.name, "told", SOON, told).await?;
        }
    }
    Ok(())
}

fn versions_of(body: &Value) -> Result<&Value> {
    versions(body).last().context("a version")
}
