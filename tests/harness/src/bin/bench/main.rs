//! How quick and how big the operator is, against a real API server and the loopback clouds: prints
//! tables as docs/benchmarks.md has them. It measures the program that `TENANT_KMS_BIN` names, and
//! must never say a number that it did not see from outside.

mod calls;
mod customers;
mod idle;
mod isolation;
mod latency;
mod machine;
mod replicas;
mod revocation;
mod sessions;
mod states;
mod stats;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::Cloud;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: bench latency|idle|sessions|revocation|isolation|calls \
    [--provider azure|aws|gcp] [--tenants N] [--rounds N]";

#[derive(Clone, Copy, Debug)]
struct Options {
    cloud: Cloud,
    tenants: usize,
    rounds: usize,
}

impl Options {
    fn parse(args: &[String], tenants: usize) -> Result<Self> {
        let mut options = Self {
            cloud: Cloud::Azure,
            tenants,
            rounds: 2,
        };
        for pair in args.chunks(2) {
            let [name, value] = pair else { bail!(USAGE) };
            let number = || value.parse().with_context(|| format!("{name} {value}"));
            match name.as_str() {
                "--provider" => options.cloud = Cloud::parse(value).context(USAGE)?,
                "--tenants" => options.tenants = number()?,
                "--rounds" => options.rounds = number()?,
                _ => bail!(USAGE),
            }
        }
        if options.tenants == 0 || options.rounds == 0 {
            bail!("nothing to measure");
        }
        Ok(options)
    }
}

/// The parts of an interval, as evenly as they get for any number of them and unlike the order in
/// which the tenants were applied: multiples of the golden ratio.
fn spread(number: usize) -> f64 {
    let number = u32::try_from(number).unwrap_or_default();
    (f64::from(number) * 0.618_033_988_75).fract()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(&args));
    runtime.shutdown_timeout(Duration::from_mins(1));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[String]) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let work = async {
        match args {
            [what, rest @ ..] if what == "latency" => latency::run(Options::parse(rest, 60)?).await,
            [what, rest @ ..] if what == "idle" => idle::run(Options::parse(rest, 100)?).await,
            [what, rest @ ..] if what == "sessions" => {
                sessions::run(Options::parse(rest, 10_000)?).await
            }
            [what, rest @ ..] if what == "revocation" => {
                revocation::run(Options::parse(rest, 50)?).await
            }
            [what, rest @ ..] if what == "isolation" => {
                isolation::run(Options::parse(rest, 20)?).await
            }
            [what, rest @ ..] if what == "calls" => calls::run(Options::parse(rest, 1)?).await,
            _ => bail!(USAGE),
        }
    };
    // What loses is dropped, and everything it started with it.
    tokio::select! {
        done = work => done.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    }
}
