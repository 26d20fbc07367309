//! What the operator costs while nothing happens: memory and processor time, with no tenant and with
//! many that are verified at the default interval.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use harness::{ControlPlane, Env, Operator};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::Options;
use crate::customers;
use crate::machine::{self, mebibytes, progress, resident, ticks};
use crate::states::States;

const LIMIT: Duration = Duration::from_mins(2);
/// Two default intervals: each tenant is checked twice while it is watched.
const WATCHED: Duration = Duration::from_mins(1);

pub async fn run(options: Options) -> Result<()> {
    println!("{}\n{}\n", machine::shape(), machine::program()?);
    // Not the shared one, which would end after this process.
    let control = Arc::new(ControlPlane::start().await?);
    let env = Env::with_control(control, "idle").await?;
    let customers = customers::onboard(&env, options.cloud, options.tenants).await?;
    let operator = env.operator().await?;
    let mut rows = vec![observe(&operator, 0).await?];

    let api = customers::api(env.client().await?, &env.namespace);
    let states = States::watch(api.clone());
    let mut progress = progress(format!("applying {} tenants", customers.len()));
    for (number, customer) in customers.iter().enumerate() {
        progress.at(number);
        customers::apply(&api, &customer.manifest()).await?;
        customer.let_in(&env).await?;
    }
    for customer in &customers {
        states.wait(&customer.name, "Active", LIMIT).await?;
    }
    rows.push(observe(&operator, customers.len()).await?);
    println!("| tenants | resident | processor time in a minute |\n|---|---|---|");
    println!("{}", rows.join("\n"));
    Ok(())
}

/// Watches the process for a while: the largest resident size, and the time it used.
async fn observe(operator: &Operator, tenants: usize) -> Result<String> {
    let pid = operator.pid();
    let before = ticks(pid)?;
    let until = Instant::now() + WATCHED;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut progress = progress(format!("watching the process with {tenants} tenants"));
    let (mut largest, mut count) = (0, 0);
    while Instant::now() < until {
        seconds.tick().await;
        largest = resident(pid)?.max(largest);
        count += 1;
        progress.at(count);
    }
    let used = (ticks(pid)? - before) * 10;
    Ok(format!(
        "| {tenants} | {} | {used} ms |",
        mebibytes(largest)
    ))
}
