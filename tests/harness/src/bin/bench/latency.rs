//! apply → Active (with a role of AWS: since it trusts the external id), revoked → Sealed, restored → Active, each by many customers whose moments are
//! spread over the interval, as they would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use harness::{ControlPlane, Customer, Env};
use serde_json::json;
use tokio::time::{interval, sleep};

use crate::customers;
use crate::machine::{self, progress};
use crate::states::States;
use crate::{Options, spread, stats};

/// Nothing takes longer than this when it works.
const LIMIT: Duration = Duration::from_mins(2);
/// A sealed tenant is tried this often, whatever its interval.
const SEALED: Duration = Duration::from_secs(30);

pub async fn run(options: Options) -> Result<()> {
    println!("{}\n{}\n", machine::shape(), machine::program()?);
    let control = Arc::new(ControlPlane::start().await?);
    let mut rows = Vec::new();
    for (name, value, length) in [("30 s (default)", None, 30), ("5 s", Some("5s"), 5)] {
        eprintln!("interval {name}");
        let env = Env::with_control(Arc::clone(&control), "bench").await?;
        let samples = measure(&env, options, value, Duration::from_secs(length)).await?;
        let [applied, sealed, restored] = samples;
        rows.push(stats::row(&format!("apply → Active | {name}"), applied));
        rows.push(stats::row(&format!("revoked → Sealed | {name}"), sealed));
        rows.push(stats::row(&format!("restored → Active | {name}"), restored));
    }
    let cloud = options.cloud;
    println!("| {cloud} | interval | n | median | p95 | max |\n|---|---|---|---|---|---|");
    println!("{}", rows.join("\n"));
    Ok(())
}

type Samples = Vec<Duration>;

async fn measure(
    env: &Env,
    options: Options,
    value: Option<&str>,
    length: Duration,
) -> Result<[Samples; 3]> {
    let customers = customers::onboard(env, options.cloud, options.tenants).await?;
    let _operator = env.operator().await?;
    let api = customers::api(env.client().await?, &env.namespace);
    let states = States::watch(api.clone());

    let mut applied = Samples::new();
    let mut progress = progress("applying".to_owned());
    for (number, customer) in customers.iter().enumerate() {
        progress.at(number);
        let mut since = Instant::now();
        let manifest = match value {
            Some(interval) => customer.verified(json!({ "interval": interval })),
            None => customer.manifest(),
        };
        customers::apply(&api, &manifest).await?;
        if let Some(trusted) = customer.let_in(env).await? {
            since = trusted;
        }
        applied.push(states.wait(&customer.name, "Active", LIMIT).await? - since);
    }

    let done = AtomicUsize::new(0);
    let count = customers.len() * options.rounds;
    let all = async {
        let each = customers
            .iter()
            .enumerate()
            .map(async |(number, customer)| {
                let mut samples = Vec::new();
                for round in 0..options.rounds {
                    let share = spread(number * options.rounds + round);
                    samples.push(once(&states, customer, length, share).await?);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(samples)
            });
        try_join_all(each).await
    };
    let mut all = std::pin::pin!(all);
    let mut ticks = interval(Duration::from_secs(9));
    let samples = loop {
        tokio::select! {
            samples = &mut all => break samples?,
            _ = ticks.tick() => {
                eprintln!("  revoked and restored: {} of {count}", done.load(Ordering::Relaxed));
            }
        }
    };
    let (sealed, restored) = samples.into_iter().flatten().unzip();
    Ok([applied, sealed, restored])
}

/// One customer takes its grant away, and gives it back.
async fn once(
    states: &States,
    customer: &Customer,
    length: Duration,
    share: f64,
) -> Result<(Duration, Duration)> {
    sleep(length.mul_f64(share)).await;
    let since = Instant::now();
    customer.say_no();
    let sealed = states.wait(&customer.name, "Sealed", LIMIT).await? - since;
    // The next attempt is a known time after the seal: any moment up to it is as likely.
    sleep(SEALED.mul_f64(1.0 - share)).await;
    let since = Instant::now();
    customer.say_yes();
    let restored = states.wait(&customer.name, "Active", LIMIT).await? - since;
    Ok((sealed, restored))
}
