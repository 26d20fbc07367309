//! `fuzz TARGET SECONDS [SEED]`: changes the corpus for so long. What fails is written beside it as
//! `failed-SEED`, and the replaying test fails until it is mended.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, setrlimit};

use fuzz::mutate::{Dice, mutate};
use fuzz::{MOST, Target};

/// More memory than this is never needed for inputs of [`MOST`] bytes.
const MEMORY: u64 = 1024 * 1024 * 1024;
/// Inputs that are changed again.
const KEPT: usize = 2_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = "fuzz TARGET SECONDS [SEED]";
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
    let (begun, end) = (Instant::now(), Duration::from_secs(seconds));
    let mut inputs = target.corpus()?;
    let mut outcomes = HashSet::new();
    let (mut dice, mut tried) = (Dice(seed), 0_u64);
    while begun.elapsed() < end {
        let (one, other) = (dice.below(inputs.len()), dice.below(inputs.len()));
        let input = mutate(&inputs[one], &inputs[other], MOST, &mut dice);
        let result = catch_unwind(AssertUnwindSafe(|| target.run(&input)));
        tried += 1;
        match result {
            Ok(outcome) if outcomes.insert(outcome) && inputs.len() < KEPT => inputs.push(input),
            Ok(_) => {}
            Err(_) => {
                let path = target.folder().join(format!("failed-{seed}"));
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
