//! What the agent API costs: calls on one core, how long they take at half of that, and the memory that
//! many tenants' keys take.

mod bare;
mod cores;
mod load;
mod scene;
mod wire;

use std::time::Duration;

use anyhow::Result;
use harness::Operator;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::bare::Bare;
use self::cores::Cores;
use self::load::{Load, Pace, Seen};
use self::scene::{Kind, Scene};
use crate::machine::{self, mebibytes, progress, resident, ticks};
use crate::{Options, stats};

const EMPTY: Duration = Duration::from_secs(10);
/// In which each tenant is checked once.
const INTERVAL: Duration = Duration::from_secs(30);

pub async fn run(options: Options) -> Result<()> {
    println!("{}\n{}", machine::shape(), machine::program()?);
    let cores = Cores::of_this_machine()?;
    println!("{cores}\n");
    let scene = Scene::start(&cores, options.tenants).await?;
    let empty = largest(&scene.operator, "no tenant", EMPTY).await?;
    scene.onboard(options.tenants).await?;
    let before = ticks(scene.operator.pid())?;
    let held = largest(&scene.operator, "all keys held", INTERVAL).await?;
    let used = Duration::from_millis(10 * (ticks(scene.operator.pid())? - before));
    let checks = used.as_secs_f64() / INTERVAL.as_secs_f64();

    let workloads = scene.workloads().await?;
    let mut rows = Rows::default();
    for kind in Kind::ALL {
        let load = Load {
            cores: &cores,
            server: scene.operator.pid().to_string(),
            tls: scene.tls().await?,
            address: scene.address()?,
            lanes: workloads.lanes(kind),
        };
        let most = rows.most(&load, kind.to_string(), options.rounds).await?;
        rows.paced(&load, kind.to_string(), options.rounds, most / 2.0)
            .await?;
        let bare = Bare::start(cores, kind.answer())?;
        let floor = Load {
            server: bare.server.clone(),
            tls: bare.tls.clone(),
            address: bare.address,
            ..load
        };
        let what = || format!("{kind}, of a server that does nothing");
        rows.paced(&floor, what(), options.rounds, most / 2.0)
            .await?;
        let most = rows.most(&floor, what(), options.rounds).await?;
        rows.paced(&floor, what(), options.rounds, most / 2.0)
            .await?;
        rows.resident = rows.resident.max(resident(scene.operator.pid())?);
    }
    rows.print();
    println!(
        "\nChecking {} tenants takes {:.1} % of a core; it is part of the above.\n",
        options.tenants,
        100.0 * checks
    );
    println!("| | resident | above idle |\n|---|---|---|");
    for (what, bytes) in [
        ("no tenants".to_owned(), empty),
        (format!("{} tenants' keys held", options.tenants), held),
        (
            format!("the same, with {} connections in use", scene::CONNECTIONS),
            rows.resident,
        ),
    ] {
        println!(
            "| {what} | {} | {} |",
            mebibytes(bytes),
            mebibytes(bytes.saturating_sub(empty))
        );
    }
    Ok(())
}

async fn rounds(load: &Load<'_>, what: &str, rounds: usize, pace: Pace) -> Result<Vec<Seen>> {
    let mut progress = progress(format!("{what}, {pace}"));
    let mut all = Vec::new();
    for round in 0..rounds {
        progress.at(round);
        let seen = load.run(pace).await?;
        eprintln!("  {seen}");
        all.push(seen);
    }
    Ok(all)
}

/// The largest resident size within a while.
async fn largest(operator: &Operator, with: &str, span: Duration) -> Result<u64> {
    let until = Instant::now() + span;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut progress = progress(format!("watching the process with {with}"));
    let (mut largest, mut count) = (0, 0);
    while Instant::now() < until {
        seconds.tick().await;
        largest = resident(operator.pid())?.max(largest);
        count += 1;
        progress.at(count);
    }
    eprintln!("  {}", mebibytes(largest));
    Ok(largest)
}

/// Medians of the rounds, as docs/benchmarks.md has them.
#[derive(Default)]
struct Rows {
    full: Vec<String>,
    half: Vec<String>,
    resident: u64,
}

impl Rows {
    /// How many calls a second are answered at most.
    async fn most(&mut self, load: &Load<'_>, what: String, count: usize) -> Result<f64> {
        let seen = rounds(load, &what, count, Pace::AsFastAsAnswered).await?;
        let median = |of: fn(&Seen) -> f64| stats::median(seen.iter().map(of));
        self.full.push(format!(
            "| {what} | {:.0} | {:.0} | {:.2} ms | {:.2} ms | {:.0} % |",
            median(Seen::per_core_second),
            median(Seen::per_second),
            1e3 * median(|one| one.quantile(0.50)),
            1e3 * median(|one| one.quantile(0.99)),
            100.0 * median(Seen::server_share),
        ));
        Ok(median(Seen::per_second))
    }

    async fn paced(
        &mut self,
        load: &Load<'_>,
        what: String,
        count: usize,
        calls: f64,
    ) -> Result<()> {
        let seen = rounds(load, &what, count, Pace::PerSecond(calls)).await?;
        let median = |of: fn(&Seen) -> f64| stats::median(seen.iter().map(of));
        self.half.push(format!(
            "| {what} | {:.0} | {:.2} ms | {:.2} ms | {:.2} ms | {:.0} % |",
            median(Seen::per_second),
            1e3 * median(|one| one.quantile(0.50)),
            1e3 * median(|one| one.quantile(0.99)),
            1e3 * median(|one| one.quantile(0.999)),
            100.0 * median(Seen::server_share),
        ));
        Ok(())
    }

    fn print(&self) {
        println!(
            "| as fast as answered | a second of one core | a second | p50 | p99 | server's core in use \
             by it |\n|---|---|---|---|---|---|\n{}\n",
            self.full.join("\n")
        );
        println!(
            "| at half of what the operator or the server that does nothing can | a second | p50 | p99 | p99.9 | \
             server's core in use by it |\n|---|---|---|---|---|---|\n{}",
            self.half.join("\n")
        );
    }
}
