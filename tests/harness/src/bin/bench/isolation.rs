//! What tenants of two clouds notice while the third one hangs: the time between two checks of a tenant, from
//! the clouds' own record, with all of them well and with each of them hanging in turn. Fails when another
//! cloud's tenant is not Active meanwhile, or waits a tenth longer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fakecloud::{Effect, Fault};
use harness::{Cloud, ControlPlane, Customer, Env};
use serde_json::json;
use tokio::time::sleep;

use crate::states::States;
use crate::{Options, customers, machine, stats};

const LIMIT: Duration = Duration::from_mins(2);
const INTERVAL: &str = "5s";
/// Of each part, times the rounds. A proof lasts longer than all of one.
const WATCHED: Duration = Duration::from_mins(1);
/// How much longer the time between two checks may get.
const MOST: f64 = 1.1;

pub async fn run(options: Options) -> Result<()> {
    println!("{}\n{}\n", machine::shape(), machine::program()?);
    let control = Arc::new(ControlPlane::start().await?);
    let env = Env::with_control(control, "isolation").await?;
    let mut all = Vec::new();
    for cloud in Cloud::ALL {
        all.extend(customers::make(&env, cloud, options.tenants).await?);
    }
    env.configure(&all);
    let _operator = env.operator().await?;
    let api = customers::api(env.client().await?, &env.namespace);
    let states = States::watch(api.clone());
    for customer in &all {
        customers::apply(&api, &customer.verified(json!({ "interval": INTERVAL }))).await?;
        customer.let_in(&env).await?;
    }
    let scene = Scene {
        env,
        all,
        states,
        watched: WATCHED * u32::try_from(options.rounds)?,
    };
    println!(
        "| checks of the tenants of | meanwhile | n | median | p99 | max |\n|---|---|---|---|---|---|"
    );
    let well = scene.part(None).await?;
    for hung in Cloud::ALL {
        for (cloud, p99) in scene.part(Some(hung)).await? {
            let before = well.iter().find(|(one, _)| *one == cloud);
            let before = before.map_or(f64::MAX, |(_, p99)| *p99);
            ensure!(
                p99 <= before * MOST,
                "{cloud} waits {p99:.2} s, not {before:.2} s, while {hung} hangs"
            );
        }
    }
    Ok(())
}

struct Scene {
    env: Env,
    all: Vec<Customer>,
    states: States,
    watched: Duration,
}

impl Scene {
    /// Everybody Active; then this cloud hangs for a while. The others' p99 of the time between two checks.
    async fn part(&self, hung: Option<Cloud>) -> Result<Vec<(Cloud, f64)>> {
        let what = hung.map_or("all answer".to_owned(), |cloud| format!("{cloud} hangs"));
        eprintln!("{what}");
        self.env.cloud.clear_faults();
        let since = Instant::now();
        for customer in &self.all {
            self.states.wait(&customer.name, "Active", LIMIT).await?;
            let checked = |call: &fakecloud::Call| {
                call.instant > since && call.status == 200 && customer.is_checked_by(call)
            };
            self.env.cloud.wait_for_call(checked, LIMIT).await?;
        }
        self.env.cloud.reset_calls();
        for customer in self.all.iter().filter(|one| Some(one.cloud) == hung) {
            for host in customer.hosts() {
                self.env.cloud.fault(Fault::on(&host, Effect::Hang));
            }
        }
        sleep(self.watched).await;
        let calls = self.env.cloud.calls();
        let mut all = Vec::new();
        for cloud in Cloud::ALL {
            if Some(cloud) == hung {
                continue;
            }
            let mut gaps = Vec::new();
            for customer in self.all.iter().filter(|one| one.cloud == cloud) {
                self.states.wait(&customer.name, "Active", LIMIT).await?;
                let checks: Vec<Instant> = calls
                    .iter()
                    .filter(|call| customer.is_checked_by(call))
                    .map(|call| call.instant)
                    .collect();
                ensure!(checks.len() > 1, "{} was not checked", customer.name);
                gaps.extend(
                    checks
                        .windows(2)
                        .map(|pair| (pair[1] - pair[0]).as_secs_f64()),
                );
            }
            gaps.sort_by(f64::total_cmp);
            let [median, p99, most] = [0.5, 0.99, 1.0].map(|share| stats::quantile(&gaps, share));
            println!(
                "| {cloud} | {what} | {} | {median:.2} s | {p99:.2} s | {most:.2} s |",
                gaps.len()
            );
            all.push((cloud, p99));
        }
        Ok(all)
    }
}
