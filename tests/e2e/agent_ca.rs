//! The operator's own CA, with the rights that the chart gives: kept by all replicas, published by
//! one, rotated without a client that notices.

mod rights;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::future::join_all;
use harness::{Env, access};
use jiff::{SignedDuration, Timestamp};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tenant_kms::clock::{Clock, Moment, SystemClock};
use tenant_kms::server::tls::ca::{Replica, Trouble};
use tenant_kms::server::tls::{self, Options, Pair, Surroundings};
use tokio::sync::watch;

use crate::seen::eventually;
use crate::support::SOON;

const NAME: &str = "agent.ns.svc";

/// Starts today and goes on when a test says so.
#[derive(Clone)]
struct Hands(Arc<Mutex<Moment>>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(SystemClock.now())))
    }

    fn pass(&self, hours: i64) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.after(SignedDuration::from_hours(hours).unsigned_abs());
    }
}

impl Clock for Hands {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One replica that does its rounds when it is told to.
struct Member {
    replica: Replica,
    held: watch::Receiver<Option<Pair>>,
}

impl Member {
    async fn new(env: &Env, clock: &Hands, holds: bool, namespaces: &[&str]) -> Result<Self> {
        let around = Surroundings {
            client: env.control.client_for(&env.operator_kubeconfig).await?,
            records_namespace: env.records_namespace.clone(),
            holder: watch::channel(holds).1,
            clock: Arc::new(clock.clone()),
        };
        let namespaces = namespaces.iter().map(ToString::to_string).collect();
        let (replica, held) = Replica::new(vec![NAME.to_owned()], namespaces, around);
        Ok(Self { replica, held })
    }

    /// A round; again where the API server was too slow, as it would by itself.
    async fn round(&mut self) -> Result<Duration, Trouble> {
        let deadline = Instant::now() + SOON;
        loop {
            match self.replica.round().await {
                Err(Trouble::Silent) if Instant::now() < deadline => {}
                done => return done,
            }
        }
    }

    /// Whether a client that trusts the bundle accepts this replica now.
    fn believed(&self, bundle: &str, clock: &Hands) -> Result<bool> {
        let pair = self.held.borrow().clone().context("a certificate")?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(root?)?;
        }
        let provider = Arc::new(default_provider());
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from(NAME)?;
        let now = UnixTime::since_unix_epoch(clock.now().wall);
        let key = pair.key();
        let leaf = key.end_entity_cert()?;
        let verified = judge
            .build()?
            .verify_server_cert(leaf, &[], &name, &[], now);
        Ok(verified.is_ok())
    }
}

/// Both namespaces get the chart's Role; it is in force a moment later.
async fn with_rights(name: &str) -> Result<Env> {
    let env = Env::new(name).await?;
    env.upgrade(&[&rights::value(&[&env.namespace])]).await?;
    for namespace in [&env.namespace, &env.operator_namespace] {
        rights::in_force(&env, namespace, true).await?;
    }
    Ok(env)
}

async fn object(env: &Env, namespace: &str, name: &str) -> Result<Value> {
    let args = ["get", name, "--namespace", namespace, "--output=json"];
    let text = env.control.kubectl(&args).await?.success()?;
    Ok(serde_json::from_str(&text)?)
}

async fn bundle(env: &Env, namespace: &str) -> Result<String> {
    let map = object(env, namespace, "configmap/tenant-kms-ca").await?;
    let bundle = map["data"]["ca.crt"].as_str().context("a bundle")?;
    Ok(bundle.to_owned())
}

/// What is stored of the authorities.
async fn stored(env: &Env) -> Result<Value> {
    let secret = object(env, &env.records_namespace, "secret/tenant-kms-agent-ca").await?;
    ensure!(
        secret["type"] == "tenantkms.dev/agent-ca",
        "{}",
        secret["type"]
    );
    let body = secret["data"]["agent-ca.json"].as_str().context("a body")?;
    let body = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body)?;
    Ok(serde_json::from_slice::<Value>(&body)?["authorities"].clone())
}

fn count(bundle: &str) -> usize {
    bundle.matches("BEGIN CERTIFICATE").count()
}

#[tokio::test]
async fn replicas_that_race_have_one_authority() -> Result<()> {
    let env = Env::new("ca-race").await?;
    let create = access(&env.records_namespace, "create", "", "secrets");
    env.until_may(&env.operator_user(), create, true).await?;
    let clock = Hands::new();
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(Member::new(&env, &clock, false, &[]).await?);
    }
    for done in join_all(members.iter_mut().map(Member::round)).await {
        done?;
    }
    let stored = stored(&env).await?;
    ensure!(stored.as_array().map(Vec::len) == Some(1));
    let trusted = stored[0]["certificate"].as_str().context("a certificate")?;
    for member in &members {
        ensure!(member.believed(trusted, &clock)?);
    }

    // All find that the next one is due, and one of them makes it.
    clock.pass(183 * 24);
    for done in join_all(members.iter_mut().map(Member::round)).await {
        done?;
    }
    ensure!(self::stored(&env).await?.as_array().map(Vec::len) == Some(2));
    let replaced = || -> Result<usize> {
        let writes = env.operator_writes()?;
        let its = writes.iter().filter(|one| {
            one["objectRef"]["name"] == "tenant-kms-agent-ca" && one["verb"] == "update"
        });
        Ok(its
            .filter(|one| one["responseStatus"]["code"] == 200)
            .count())
    };
    eventually("audited", SOON, async || Ok(replaced()? >= 1)).await?;
    ensure!(replaced()? == 1, "{}", replaced()?);
    Ok(())
}

/// A year with two replicas: each certificate is believed by whoever mounted the bundle a day ago.
#[tokio::test]
async fn a_rotation_is_published_before_it_is_used() -> Result<()> {
    let env = with_rights("ca-rotation").await?;
    let clock = Hands::new();
    let namespaces = [&*env.namespace, &*env.operator_namespace];
    let mut holder = Member::new(&env, &clock, true, &namespaces).await?;
    let mut other = Member::new(&env, &clock, false, &namespaces).await?;
    let holds = holder.round().await?;
    ensure!(holds.as_secs() == 24 * 3600, "{holds:?}"); // until it is settled
    other.round().await?;
    let first = bundle(&env, &env.namespace).await?;
    ensure!(count(&first) == 1 && first == bundle(&env, &env.operator_namespace).await?);
    ensure!(holder.believed(&first, &clock)? && other.believed(&first, &clock)?);
    // Issued anew at two thirds of seven days, and not before.
    let until = |member: &Member| member.held.borrow().as_ref().map(Pair::until);
    let issued = until(&other);
    clock.pass(4 * 24);
    other.round().await?;
    ensure!(until(&other) == issued);
    clock.pass(24);
    other.round().await?;
    ensure!(until(&other) > issued && other.believed(&first, &clock)?);

    clock.pass(180 * 24);
    other.round().await?; // any replica may make the next one
    ensure!(stored(&env).await?.as_array().map(Vec::len) == Some(2));
    ensure!(
        bundle(&env, &env.namespace).await? == first,
        "not the holder's part"
    );
    holder.round().await?;
    let both = bundle(&env, &env.namespace).await?;
    ensure!(count(&both) == 2 && both.ends_with(&first), "newest first");
    clock.pass(23);
    for member in [&mut holder, &mut other] {
        member.round().await?;
        ensure!(
            member.believed(&first, &clock)?,
            "who did not mount it anew yet"
        );
    }
    clock.pass(1);
    let new = both.strip_suffix(&*first).context("the new one")?;
    for member in [&mut other, &mut holder] {
        member.round().await?;
        ensure!(member.believed(new, &clock)? && !member.believed(&first, &clock)?);
    }
    let keys = stored(&env).await?;
    ensure!(keys[0]["key"].is_string() && keys[1]["key"].is_null());

    clock.pass(180 * 24);
    holder.round().await?;
    let last = bundle(&env, &env.namespace).await?;
    ensure!(!last.contains(first.trim_end()), "expired");
    ensure!(last.contains(new.trim_end()) && holder.believed(&last, &clock)?);
    Ok(())
}

#[tokio::test]
async fn what_clients_trust_is_put_right_again_and_otherwise_not_written() -> Result<()> {
    let env = with_rights("ca-restored").await?;
    let clock = Hands::new();
    let mut holder = Member::new(&env, &clock, true, &[&env.namespace]).await?;
    holder.round().await?;
    let published = object(&env, &env.namespace, "configmap/tenant-kms-ca").await?;
    holder.round().await?;
    let again = object(&env, &env.namespace, "configmap/tenant-kms-ca").await?;
    ensure!(again["metadata"]["resourceVersion"] == published["metadata"]["resourceVersion"]);

    let edit = json!({ "data": { "ca.crt": "another CA", "mine": "too" } }).to_string();
    let patch = [
        "patch",
        "configmap",
        "tenant-kms-ca",
        "--type=merge",
        "--patch",
        &edit,
    ];
    env.kubectl(&patch).await?.success()?;
    holder.round().await?;
    let put = object(&env, &env.namespace, "configmap/tenant-kms-ca").await?;
    ensure!(put["data"]["ca.crt"] == published["data"]["ca.crt"] && put["data"]["mine"] == "too");

    let delete = ["delete", "configmap", "tenant-kms-ca"];
    env.kubectl(&delete).await?.success()?;
    let mut other = Member::new(&env, &clock, false, &[&env.namespace]).await?;
    other.round().await?;
    ensure!(
        bundle(&env, &env.namespace).await.is_err(),
        "the holder's part alone"
    );
    holder.round().await?;
    ensure!(put["data"]["ca.crt"] == *bundle(&env, &env.namespace).await?);
    Ok(())
}

/// A Secret that is not understood is nobody's to overwrite; the certificate goes on, and a new
/// replica has none.
#[tokio::test]
async fn a_secret_that_is_not_understood_is_left_alone() -> Result<()> {
    let env = Env::new("ca-foreign").await?;
    let clock = Hands::new();
    let mut old = Member::new(&env, &clock, false, &[]).await?;
    old.round().await?;
    let trusted = stored(&env).await?[0]["certificate"].clone();
    let trusted = trusted.as_str().context("a certificate")?;

    let newer = r#"--patch={"stringData":{"agent-ca.json":"{\"format\":2}"}}"#;
    let namespace = ["--namespace", &env.records_namespace];
    let user = format!("--as={}", env.operator_user());
    let patch = ["patch", "secret", "tenant-kms-agent-ca", newer, &user];
    let groups = "--as-group=system:masters"; // the Role has no patch; the policy looks at the name
    let args = [&namespace[..], &patch, &[groups]].concat();
    env.control.kubectl(&args).await?.success()?;
    let before = object(&env, &env.records_namespace, "secret/tenant-kms-agent-ca").await?;
    clock.pass(6 * 24);
    let told = old.round().await.expect_err("not understood").to_string();
    ensure!(
        told.contains("a newer version") && told.contains("kubectl delete secret"),
        "{told}"
    );
    ensure!(
        old.believed(trusted, &clock)?
            && old.held.borrow().as_ref().map(Pair::until) > Some(at(&clock, 6))
    );
    let mut new = Member::new(&env, &clock, false, &[]).await?;
    ensure!(new.round().await.is_err() && new.held.borrow().is_none());
    let after = object(&env, &env.records_namespace, "secret/tenant-kms-agent-ca").await?;
    ensure!(before == after);
    Ok(())
}

fn at(clock: &Hands, days: i64) -> Timestamp {
    clock.now().timestamp() + SignedDuration::from_hours(24 * days)
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    tls: Options,
}

/// As the operator starts it: ready by itself, published when this replica becomes the holder, and kept
/// up from then on.
#[tokio::test]
async fn it_runs_by_itself() -> Result<()> {
    let env = with_rights("ca-runs").await?;
    let (holds, holder) = watch::channel(false);
    let clock = Hands::new();
    let around = Surroundings {
        client: env.control.client_for(&env.operator_kubeconfig).await?,
        records_namespace: env.records_namespace.clone(),
        holder,
        clock: Arc::new(clock.clone()),
    };
    let namespaces = format!("--ca-namespaces={}", env.namespace);
    let line = Line::try_parse_from(["x", "--tls-names", NAME, &namespaces])?;
    let certificates = tls::start(&line.tls, around).await?;
    eventually("a certificate", SOON, async || Ok(certificates.ready())).await?;
    ensure!(bundle(&env, &env.namespace).await.is_err());
    holds.send_replace(true);
    eventually("published", SOON, async || {
        Ok(bundle(&env, &env.namespace).await.is_ok())
    })
    .await?;
    ensure!(certificates.fault().borrow().is_none());

    // Half a year later there is the next one, and a certificate that is good then.
    let first = bundle(&env, &env.namespace).await?;
    clock.pass(183 * 24);
    next_round().await;
    eventually("the next authority", SOON, async || {
        let both = bundle(&env, &env.namespace).await?;
        Ok(both.ends_with(&first) && both.matches("BEGIN CERTIFICATE").count() == 2)
    })
    .await?;
    ensure!(certificates.until() > Some(clock.now().timestamp()));
    ensure!(certificates.fault().borrow().is_none());
    Ok(())
}

/// Lets the longest pause between two rounds pass, and nothing else.
async fn next_round() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(3)).await;
    tokio::time::resume();
}
