//! Random histories of one tenant against the product's own loop: only the cloud, the cluster, the
//! clocks and chance are models. A failing history is printed with its seed, as short as it gets.

pub mod clock;
pub mod cloud;
mod event;
mod ledger;
mod play;
pub mod process;
pub mod replicas;
pub mod store;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use self::event::History;
use self::world::World;

const HISTORIES: u64 = 10_000;
/// Of all histories, at least one in so many has each of what is counted.
const RARE: usize = 100;

/// What must be in [`HISTORIES`] often enough, beside each event.
const REACHED: [&str; 10] = [
    "sealed",
    "migrated",
    "rewrapped",
    "rotated twice",
    "erased",
    "written back",
    "restored over a newer memory",
    "damage mended",
    "foreign",
    "crashed at a write",
];

type Seen = BTreeSet<&'static str>;

fn played(history: &History) -> Seen {
    clock::runtime().block_on(async {
        let mut world = World::new(history).await;
        let mut down = 0;
        for event in &history.events {
            down = if world.processes.is_empty() {
                down + 1
            } else {
                0
            };
            if down > 2 {
                world.start().await; // somebody always starts it again
            }
            play::play(&mut world, *event).await;
        }
        let mut seen = std::mem::take(&mut world.seen);
        seen.extend(&world.store.ledger().seen);
        seen.extend(history.events.iter().map(|event| event.name()));
        seen
    })
}

fn fails(history: &History) -> bool {
    catch_unwind(AssertUnwindSafe(|| played(history))).is_err()
}

/// The history without whatever can be left out.
fn shrunk(mut history: History) -> History {
    let mut size = history.events.len() / 2;
    while size > 0 {
        let mut from = 0;
        while from < history.events.len() {
            let mut shorter = history.clone();
            let to = (from + size).min(history.events.len());
            shorter.events.drain(from..to);
            if fails(&shorter) {
                history = shorter;
            } else {
                from = to;
            }
        }
        size /= 2;
    }
    history
}

/// What was seen in how many of the histories from `first`, in steps of `step`.
fn run(first: u64, step: u64, histories: u64) -> BTreeMap<&'static str, usize> {
    let mut counted = BTreeMap::new();
    for seed in (first..histories).step_by(usize::try_from(step).expect("small")) {
        let history = History::drawn(seed);
        let Ok(seen) = catch_unwind(AssertUnwindSafe(|| played(&history))) else {
            let short = shrunk(history);
            eprintln!("the history of seed {seed}, shortened: {short:?}");
            played(&short);
            continue;
        };
        for one in seen {
            *counted.entry(one).or_default() += 1;
        }
    }
    counted
}

/// `TENANT_KMS_HISTORIES` makes it more or fewer, `TENANT_KMS_HISTORY` plays the one of that seed.
#[test]
fn master_keys_survive_every_history() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("TENANT_KMS_HISTORY") {
        run(seed, 1, seed + 1);
        return;
    }
    let histories = number("TENANT_KMS_HISTORIES").unwrap_or(HISTORIES);
    let threads = 2;
    let running: Vec<_> = (0..threads)
        .map(|first| thread::spawn(move || run(first, threads, histories)))
        .collect();
    let mut counted = BTreeMap::new();
    for one in running {
        for (name, times) in one.join().expect("a history fails; see above") {
            *counted.entry(name).or_insert(0) += times;
        }
    }
    let enough = usize::try_from(histories).expect("few") / RARE;
    let few = |name: &&&str| counted.get(*name).is_none_or(|times| *times < enough);
    let every: BTreeSet<&str> = (0..100)
        .flat_map(|seed| History::drawn(seed).events)
        .map(event::Event::name)
        .chain(REACHED)
        .collect();
    let rare: Vec<&&str> = every.iter().filter(few).collect();
    assert!(rare.is_empty(), "too rare: {rare:?} in {counted:?}");
}
