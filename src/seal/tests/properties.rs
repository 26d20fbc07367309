//! Random histories: answers, hangs, stopped processes, clocks set forward and back, requests,
//! voids, adopted probes. The oracle of every `World` judges each step; here is what it is fed.

use std::time::Duration;

use proptest::prelude::*;

use super::{Cloud, World, seconds};
use crate::api::Reason;

#[derive(Clone, Debug)]
enum Event {
    Run(Duration),
    Sleep(Duration),
    Cloud(Cloud),
    Latency(Duration),
    Forward(Duration),
    Back(Duration),
    Request {
        unseal: bool,
    },
    Void,
    /// A no to something else.
    Refuse,
    Adopt {
        begun_ago: Duration,
    },
    /// Denied until it is sealed, and then again allowed.
    Flap,
    /// The caller begins although nothing is due, or although an attempt is open.
    Begin,
}

#[derive(Clone, Debug)]
struct History {
    interval: Duration,
    proof_ttl: Duration,
    jitters: Vec<f64>,
    lag: Duration,
    timer_wins: bool,
    tick_first: bool,
    events: Vec<Event>,
}

impl History {
    fn world(&self) -> World {
        let mut world = World::new(self.interval, self.proof_ttl);
        world.jitters.clone_from(&self.jitters);
        world.lag = self.lag;
        world.timer_wins = self.timer_wins;
        world.tick_first = self.tick_first;
        world
    }

    fn played(&self) -> World {
        let mut world = self.world();
        for event in &self.events {
            play(&mut world, event);
        }
        world
    }
}

fn play(world: &mut World, event: &Event) {
    match *event {
        Event::Run(span) => world.run(span),
        Event::Sleep(span) => world.sleep(span),
        Event::Cloud(cloud) => world.cloud = cloud,
        Event::Latency(latency) => world.latency = latency,
        Event::Forward(by) => world.set_wall_forward(by),
        Event::Back(by) => world.set_wall_back(by),
        Event::Request { unseal } => world.request(unseal),
        Event::Void => world.void(),
        Event::Refuse => world.refuse(),
        Event::Adopt { begun_ago } => {
            world.adopt(begun_ago);
        }
        Event::Flap => {
            let cloud = world.cloud;
            world.cloud = Cloud::Denies(Reason::AccessDenied);
            world.run(seconds(35));
            world.cloud = Cloud::Works;
            world.run(seconds(31));
            world.cloud = cloud;
        }
        Event::Begin => {
            world.begin();
        }
    }
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn clouds() -> impl Strategy<Value = Cloud> {
    prop_oneof![
        4 => Just(Cloud::Works),
        2 => Just(Cloud::Denies(Reason::AccessDenied)),
        1 => Just(Cloud::Denies(Reason::KeyDisabled)),
        2 => Just(Cloud::Fails(Reason::Unreachable)),
        1 => (1_u64..400).prop_map(Cloud::Throttles),
        1 => Just(Cloud::Misconfigured),
        2 => Just(Cloud::Hangs),
    ]
}

/// What may happen to an operator whose key works all the time.
fn harmless() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => millis(0..90_000).prop_map(Event::Run),
        2 => millis(0..20_000).prop_map(Event::Sleep),
        2 => millis(0..900_000).prop_map(Event::Sleep),
        1 => millis(0..4_900).prop_map(Event::Latency),
        1 => millis(0..4_000_000).prop_map(Event::Forward),
        1 => millis(0..4_000_000).prop_map(Event::Back),
        1 => millis(0..6_000).prop_map(Event::Forward),
        1 => any::<bool>().prop_map(|unseal| Event::Request { unseal }),
        1 => Just(Event::Void),
        1 => millis(0..90_000).prop_map(|begun_ago| Event::Adopt { begun_ago }),
        1 => Just(Event::Begin),
    ]
}

fn anything() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => clouds().prop_map(Event::Cloud),
        3 => millis(0..400_000).prop_map(Event::Run),
        1 => millis(0..14_000).prop_map(Event::Latency),
        1 => Just(Event::Flap),
        1 => Just(Event::Refuse),
        5 => harmless(),
    ]
}

fn histories(event: impl Strategy<Value = Event>) -> impl Strategy<Value = History> {
    let timing = (5_u64..=150, 60_u64..=300);
    let jitters = prop::collection::vec(0.0..=1.0, 1..7);
    let driver = (millis(0..900), any::<bool>(), any::<bool>());
    let events = prop::collection::vec(event, 1..40);
    (timing, jitters, driver, events).prop_map(|(timing, jitters, driver, events)| History {
        interval: seconds(timing.0),
        proof_ttl: seconds(timing.1),
        jitters,
        lag: driver.0,
        timer_wins: driver.1,
        tick_first: driver.2,
        events,
    })
}

/// `PROPTEST_CASES` makes it more than the usual 256 histories.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None, // the smallest failing history is printed
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happened_a_working_key_serves_again(history in histories(anything())) {
        let mut world = history.played();
        world.cloud = Cloud::Works;
        world.latency = Duration::from_millis(100);
        let limit = history.interval.max(seconds(30)) + seconds(30);
        world.run_until(limit, World::may_serve);
    }

    #[test]
    fn a_working_key_is_never_sealed(history in histories(harmless())) {
        let mut world = history.world();
        for event in &history.events {
            play(&mut world, event);
            world.run(seconds(20));
        }
        prop_assert!(world.log.len() <= 1, "{:?}", world.log);
    }

    #[test]
    fn the_same_history_ends_the_same(history in histories(anything())) {
        let (one, other) = (history.played(), history.played());
        prop_assert_eq!(one.log, other.log);
        prop_assert_eq!(one.attempts, other.attempts);
        prop_assert_eq!(format!("{:?}", one.seal), format!("{:?}", other.seal));
    }
}
