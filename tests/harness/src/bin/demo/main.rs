//! The whole story on a real API server and the loopback clouds, told as it happens: what the customer
//! does, what `kubectl` then shows, and how long it took. Every step is checked. It must never touch
//! another cluster, and leaves no process and no file behind, however it ends.

mod cast;
mod keep;
mod keys;
mod outage;
mod records;
mod stage;
mod steps;
mod story;
mod timeline;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use harness::Cloud;
use harness::node::{self, Isolated};
use stage::{Scene, Stage};
use timeline::Timeline;

/// Longer than anybody looks around.
const LONG: Duration = Duration::from_hours(24 * 365);

#[derive(Clone, Copy, Debug)]
struct Options {
    cloud: Cloud,
    keep: bool,
    cluster: bool,
}

impl Options {
    fn parse(args: &[String]) -> Option<Self> {
        let mut options = Self {
            cloud: Cloud::Azure,
            keep: false,
            cluster: false,
        };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg {
                "--provider" => options.cloud = Cloud::parse(args.next()?)?,
                "--keep" => options.keep = true,
                "--cluster" => options.cluster = true,
                _ => return None,
            }
        }
        let beside = options.keep || options.cloud != Cloud::Azure;
        (!options.cluster || !beside).then_some(options)
    }
}

/// How a run ended when it did not fail.
enum End {
    Told,
    Interrupted(u8),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = Options::parse(&args) else {
        eprintln!("usage: demo [--provider azure|aws|gcp] [--keep] | demo --cluster");
        return ExitCode::from(2);
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = if options.cluster && !node::is_inside() {
        runtime.block_on(in_namespaces(&args))
    } else {
        runtime.block_on(run(options))
    };
    // A control plane that was just being started ends here too.
    runtime.shutdown_timeout(Duration::from_mins(1));
    match result {
        Ok(End::Told) => ExitCode::SUCCESS,
        Ok(End::Interrupted(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("\nThe demo FAILED");
            // Not `{error:?}`, which may add a page of backtrace.
            error.chain().for_each(|cause| eprintln!("{cause}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells it in namespaces of its own, by this program started there.
async fn in_namespaces(args: &[String]) -> Result<End> {
    node::check_requirements()?;
    // Nothing is downloaded in there.
    tokio::task::spawn_blocking(harness::binaries).await??;
    match Isolated::run(args).await? {
        0 => Ok(End::Told),
        code => Ok(End::Interrupted(code)),
    }
}

async fn run(options: Options) -> Result<End> {
    if options.cluster {
        node::within_leash();
    }
    let mut signals = Signals::new()?;
    let timeline = Timeline::start();
    // The future that loses is dropped, and everything it started with it.
    let told = tokio::select! {
        told = tell(&timeline, options) => Some(told?),
        code = signals.next() => {
            timeline.say("interrupted: stopping everything");
            return Ok(End::Interrupted(code));
        }
    };
    if let (true, Some(stage)) = (options.keep, told) {
        keep::explain(&stage)?;
        let Scene::Process { operator, .. } = &stage.scene else {
            return Ok(End::Told);
        };
        tokio::select! {
            gone = operator.ended(LONG) => bail!("the operator ended by itself: {gone:?}"),
            _ = signals.next() => timeline.say("stopping everything"),
        }
    }
    Ok(End::Told)
}

async fn tell(timeline: &Timeline, options: Options) -> Result<Stage<'_>> {
    let stage = if options.cluster {
        Stage::set_cluster(timeline).await?
    } else {
        Stage::set(timeline, options.cloud).await?
    };
    match story::tell(&stage).await {
        Ok(()) => Ok(stage),
        // A wait that was in vain has shown the log itself.
        Err(error)
            if error
                .chain()
                .any(|cause| cause.to_string().contains("ends:\n")) =>
        {
            Err(error)
        }
        Err(error) => bail!("{error:#}\n{}", stage.operator_log().await),
    }
}

/// Ctrl-C and its relatives.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The exit code that says which one came.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = self.hangup.recv() => 129,
        }
    }
}
