//! `fuzz TARGET SECONDS [SEED]`: changes the corpus for so long. What fails is written beside it as
//! `failed-SEED`, and the replaying test fails until it is mended. `fuzz all SECONDS`: every target, as
//! many at once as there are processors.

use std::collections::HashSet;
use std::fs;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, exit};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};

use fuzz::mutate::{Dice, mutate};
use fuzz::{MOST, STUCK, TARGETS, Target, Watchdog};

/// More memory than this is never needed for inputs of [`MOST`] bytes.
const MEMORY: u64 = 1024 * 1024 * 1024;
/// Inputs that are changed again.
const KEPT: usize = 2_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = "fuzz TARGET|all SECONDS [SEED]";
    if args.first().is_some_and(|name| name == "all") {
        return all(args.get(1).context(usage)?);
    }
    let target = args.first().and_then(|name| Target::named(name));
    let target = target.context(usage)?;
    let seconds = args.get(1).context(usage)?.parse().context(usage)?;
    let clock = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let seed = args.get(2).map_or(Ok(clock), |text| text.parse())?;
    let limit = Some(MEMORY);
    setrlimit(
        Resource::As,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?;
    let path = target.folder().join(format!("failed-{seed}"));
    let kept = path.clone();
    let watchdog = Watchdog::start(STUCK, move |input| {
        let written = fs::write(&kept, input);
        let path = kept.display();
        eprintln!(
            "{}, seed {seed}: no end after {STUCK:?}: {path} ({written:?})",
            target.name
        );
        exit(1);
    });
    let (begun, end) = (Instant::now(), Duration::from_secs(seconds));
    let mut inputs = target.corpus()?;
    let mut outcomes = HashSet::new();
    let (mut dice, mut tried) = (Dice(seed), 0_u64);
    while begun.elapsed() < end {
        let (one, other) = (dice.below(inputs.len()), dice.below(inputs.len()));
        let input = mutate(&inputs[one], &inputs[other], MOST, &mut dice);
        let run = || watchdog.watch(&input, || target.run(&input));
        let result = catch_unwind(AssertUnwindSafe(run));
        tried += 1;
        match result {
            Ok(outcome) if outcomes.insert(outcome) && inputs.len() < KEPT => inputs.push(input),
            Ok(_) => {}
            Err(_) => {
                fs::write(&path, input)?;
                bail!("{} fails, seed {seed}: {}", target.name, path.display());
            }
        }
    }
    println!(
        "{}: {tried} inputs, {} outcomes, seed {seed}: nothing failed",
        target.name,
        outcomes.len()
    );
    Ok(())
}

/// Each in a process of its own: memory is limited for a process.
fn all(seconds: &str) -> Result<()> {
    let program = std::env::current_exe()?;
    let left = Mutex::new(TARGETS.to_vec());
    let failed = Mutex::new(Vec::new());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some(target) = next() {
            println!("{}: {seconds} s", target.name);
            let ended = Command::new(&program).args([target.name, seconds]).status();
            if !ended.is_ok_and(|status| status.success()) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(target.name);
            }
        }
    };
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "these fail: {}", failed.join(", "));
    Ok(())
}
