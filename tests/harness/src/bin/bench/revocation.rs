//! The promise that a customer's no is obeyed: how long after it the last session was issued and the last
//! ciphertext opened, by each of three replicas; and how old the last proof of one is that can hear nothing
//! any more. Fails when a promise is broken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::join_all;
use harness::{Cloud, ControlPlane, Customer, Env, Workload};
use kube::Api;
use kube::api::DynamicObject;
use serde_json::json;
use tokio::time::sleep;

use crate::customers;
use crate::replicas::{self, Kind, Polls, REPLICAS, Replica, Use, last_proof};
use crate::states::States;
use crate::{Options, machine, spread, stats};

const ACCOUNT: &str = "app";
const LIMIT: Duration = Duration::from_mins(2);
/// The default.
const INTERVAL: Duration = Duration::from_secs(30);
/// After the no, nothing is served at the default interval.
const OBEYED: Duration = Duration::from_secs(35);
/// The shortest that the default interval goes with.
const PROOF_TTL: Duration = Duration::from_mins(1);
/// From one cut to the next.
const APART: Duration = Duration::from_secs(40);
/// Until a replica has heard that a tenant is active.
const HEARD: Duration = Duration::from_secs(20);
/// How much longer is looked for what must not be.
const BEYOND: Duration = Duration::from_secs(15);

pub async fn run(options: Options) -> Result<()> {
    println!("{}\n{}\n", machine::shape(), machine::program()?);
    let control = Arc::new(ControlPlane::start().await?);
    let env = Env::with_control(control, "revocation").await?;
    let customers = customers::onboard(&env, options.cloud, options.tenants).await?;
    for (number, customer) in customers.iter().enumerate() {
        if number == 0 {
            let may = env.workload(ACCOUNT, &customer.name, &["session"]);
            may.await?;
        } else {
            env.let_use(ACCOUNT, &customer.name, "session").await?;
        }
    }
    let replicas = replicas::start(&env).await?;
    let api = customers::api(env.client().await?, &env.namespace);
    let states = States::watch(api.clone());
    let scene = Scene {
        env,
        customers,
        replicas,
        api,
        states,
    };
    println!(
        "| last success after the no | n | min | median | p95 | max |\n|---|---|---|---|---|---|"
    );
    let (always, first) = ("all replicas in use", "the third used first after the no");
    scene.revoked(always, REPLICAS).await?;
    scene.revoked(first, REPLICAS - 1).await?;
    if options.cloud != Cloud::Azure {
        // Who was proved last is told by a vault's own name.
        return Ok(());
    }
    println!(
        "\n| age of the last proof at the last success | n | min | median | p95 | max |\n\
         |---|---|---|---|---|---|"
    );
    scene.cut_off().await
}

struct Scene {
    env: Env,
    customers: Vec<Customer>,
    replicas: Vec<Replica>,
    api: Api<DynamicObject>,
    states: States,
}

impl Scene {
    /// Every tenant active, and a workload that was served with each.
    async fn used(&self, proof_ttl: Option<Duration>) -> Result<Vec<Arc<Use>>> {
        for customer in &self.customers {
            let manifest = match proof_ttl {
                Some(ttl) => {
                    customer.verified(json!({ "proofTTL": format!("{}s", ttl.as_secs()) }))
                }
                None => customer.manifest(),
            };
            customers::apply(&self.api, &manifest).await?;
            customer.say_yes();
            customer.let_in(&self.env).await?;
        }
        let token = self.env.token(ACCOUNT, None).await?;
        let mut all = Vec::new();
        for customer in &self.customers {
            let name = &customer.name;
            self.states.wait(name, "Active", LIMIT).await?;
            let app = Workload {
                account: ACCOUNT.to_owned(),
                token: token.clone(),
                tenant: format!("{}/{name}", self.env.namespace),
            };
            let used = self.begin(app).await.with_context(|| name.clone())?;
            all.push(Arc::new(used));
        }
        Ok(all)
    }

    /// The replica hears of what is active by a watch of its own, maybe after this one's.
    async fn begin(&self, app: Workload) -> Result<Use> {
        let begun = Instant::now();
        loop {
            match Use::begin(app.clone(), &self.replicas[0].agent).await {
                Err(_) if begun.elapsed() < HEARD => sleep(Duration::from_millis(10)).await,
                used => {
                    let late = begun.elapsed();
                    if late > Duration::from_secs(1) {
                        eprintln!("  {} is served {late:?} after it is active", app.tenant);
                    }
                    return used;
                }
            }
        }
    }

    /// Each customer says no at a moment of its own; `from_the_start` replicas are in use all the time.
    async fn revoked(&self, what: &str, from_the_start: usize) -> Result<()> {
        eprintln!("{what}");
        let used = self.used(None).await?;
        let mut polls = Polls::default();
        for (tenant, used) in used.iter().enumerate() {
            for (number, replica) in self.replicas.iter().enumerate().take(from_the_start) {
                polls.add(tenant, number, used, &replica.agent, Duration::ZERO);
            }
        }
        polls.served().await?;
        let moments = self.customers.iter().enumerate();
        let moments = join_all(moments.map(async |(number, customer)| {
            sleep(INTERVAL.mul_f64(spread(number))).await;
            let no = Instant::now();
            customer.say_no();
            no
        }));
        let begun = Instant::now();
        for (tenant, used) in used.iter().enumerate() {
            for (number, replica) in self.replicas.iter().enumerate().skip(from_the_start) {
                // At any moment until the no has to be heard.
                let no = INTERVAL.mul_f64(spread(tenant));
                let after = no + OBEYED.mul_f64(spread(tenant * 7 + 3));
                polls.add(tenant, number, used, &replica.agent, after);
            }
        }
        let moments = moments.await;
        sleep((INTERVAL + OBEYED + BEYOND).saturating_sub(begun.elapsed())).await;
        for (number, replica) in self.replicas.iter().enumerate() {
            for kind in Kind::BOTH {
                let since = |tenant: usize| Ok(moments[tenant]);
                let after = polls.after(number, kind, since, OBEYED)?;
                let name = format!("{what}: {}, {}", replica.name, kind.name());
                println!("{}", stats::spread(&name, after));
            }
        }
        Ok(())
    }

    /// One replica after the other hears nothing any more, the holder last.
    async fn cut_off(&self) -> Result<()> {
        eprintln!("cut off");
        let used = self.used(Some(PROOF_TTL)).await?;
        let mut polls = Polls::default();
        for (tenant, used) in used.iter().enumerate() {
            for (number, replica) in self.replicas.iter().enumerate() {
                polls.add(tenant, number, used, &replica.agent, Duration::ZERO);
            }
        }
        polls.served().await?;
        // Each is proved at a moment of its own.
        sleep(INTERVAL).await;
        let mut cuts = Vec::new();
        for (number, replica) in self.replicas.iter().enumerate().rev() {
            eprintln!("  cut off: {}", replica.name);
            replica.ways.cut_at_rest().await;
            cuts.push((number, replica, Instant::now()));
            sleep(APART).await;
        }
        sleep((PROOF_TTL + BEYOND).saturating_sub(APART)).await;
        for (number, replica, cut) in cuts {
            for kind in Kind::BOTH {
                let since = |tenant: usize| {
                    let host = self.customers[tenant].host();
                    last_proof(&replica.ways, &host, cut)
                };
                let after = polls.after(number, kind, since, PROOF_TTL)?;
                let name = format!("{}, {}", replica.name, kind.name());
                println!("{}", stats::spread(&name, after));
            }
        }
        Ok(())
    }
}
