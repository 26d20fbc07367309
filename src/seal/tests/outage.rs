//! Rule 2: an answer that says nothing changes nothing, until the last proof is too old.

use std::time::Duration;

use super::{Cloud, World, minutes, seconds};
use crate::api::Reason;
use crate::provider::Kind;
use crate::seal::{Cause, State, Transition};

const SEALED: Transition = Transition::Sealed(Cause::Outage);

fn near(measured: &[f64], expected: &[f64]) {
    let same = |(a, b): (&f64, &f64)| (a - b).abs() < 0.01;
    let all = measured.len() == expected.len() && measured.iter().zip(expected).all(same);
    assert!(all, "{measured:?} is not {expected:?}");
}

/// An active tenant whose cloud has just begun to fail.
fn failing(cloud: Cloud) -> World {
    let mut world = World::active();
    world.cloud = cloud;
    world.run_until(seconds(40), |world| world.seal.last_failure().is_some());
    world
}

#[test]
fn retries_grow_up_to_the_interval() {
    let mut world = failing(Cloud::Fails(Reason::Unreachable));
    world.run(minutes(2));
    near(&world.rhythm(6), &[2.1, 4.1, 8.1, 16.1, 30.1, 30.1]);
}

#[test]
fn retries_vary_by_a_tenth() {
    for (jitter, first) in [(0.0, 1.9), (1.0, 2.3)] {
        let mut world = failing(Cloud::Fails(Reason::Unreachable));
        world.jitters = vec![jitter];
        world.run(seconds(3));
        let expected = if first < 2.0 { [2.1, 3.7] } else { [2.1, 4.5] };
        world.run(seconds(5));
        near(&world.rhythm(2), &expected);
    }
}

#[test]
fn a_cloud_that_asks_for_time_gets_it_up_to_the_interval() {
    let mut world = failing(Cloud::Throttles(20));
    world.run(minutes(1));
    near(&world.rhythm(2), &[20.1, 20.1]);
    world.cloud = Cloud::Throttles(400);
    world.run(minutes(2));
    near(&world.rhythm(2), &[30.1, 30.1]);
}

#[test]
fn the_proof_never_expires_without_a_last_try() {
    let mut world = World::new(seconds(150), minutes(5));
    world.run(seconds(1));
    let proof = world.seal.proof().expect("proved");
    world.cloud = Cloud::Throttles(1_000);
    world.run_until(minutes(6), World::is_sealed);
    let last = world.newest().started.since(proof);
    assert!(last >= seconds(294) && last < seconds(296), "{last:?}");
}

#[test]
fn an_outage_seals_when_the_proof_is_too_old_and_never_earlier() {
    let outages = [
        (Cloud::Fails(Reason::ProviderError), Reason::ProviderError),
        (Cloud::Throttles(30), Reason::Throttled),
        (Cloud::Misconfigured, Reason::CredentialRejected),
        (Cloud::Hangs, Reason::Unreachable),
    ];
    for (cloud, reason) in outages {
        let mut world = failing(cloud);
        let proof = world.seal.proof().expect("proved");
        let left = minutes(5) - world.now.since(proof);
        world.run(left - Duration::from_millis(1));
        assert!(world.may_serve(), "a proof is good for all of its time");
        world.run(Duration::from_millis(1));
        assert!(!world.may_serve());
        assert_eq!(world.transitions(), [SEALED]);
        let why = world.seal.failure().expect("a seal is explained");
        assert_eq!(why.reason, reason);
    }
}

#[test]
fn trouble_that_ends_in_time_leaves_no_trace() {
    let mut world = failing(Cloud::Fails(Reason::Unreachable));
    world.run(minutes(4));
    let why = world.seal.failure().map(|failure| failure.reason);
    assert_eq!(why, Some(Reason::Unreachable));
    assert!(world.may_serve());
    world.cloud = Cloud::Works;
    world.run(seconds(31));
    assert!(world.may_serve());
    assert_eq!(world.seal.failure(), None);
    assert_eq!(world.seal.last_failure(), None);
    assert_eq!(world.transitions(), []);
}

#[test]
fn a_caller_that_loses_every_answer_is_an_outage_too() {
    let mut world = World::active();
    let proof = world.seal.proof().expect("proved");
    world.cloud = Cloud::Hangs;
    let mut lost = 0;
    for _ in 0..500 {
        if world.is_sealed() {
            break;
        }
        let attempt = world.seal.next_attempt(world.now);
        let tick = world.seal.next_tick(world.now);
        let wait = attempt.into_iter().chain(tick).min().expect("never stuck");
        world.now = world.now.after(wait);
        world.seal.tick(world.now, 0.5);
        if world.seal.next_attempt(world.now) == Some(Duration::ZERO) {
            world.seal.begin(world.now);
            lost += 1;
        }
    }
    assert!(world.is_sealed());
    assert_eq!(world.now.since(proof), minutes(5));
    assert!(lost > 5, "an attempt nobody answers is taken back: {lost}");
    let why = world.seal.failure().expect("a seal is explained");
    assert_eq!(
        (why.kind, why.reason),
        (Kind::Transient, Reason::Unreachable)
    );
    assert!(!why.message.is_empty());
}

#[test]
fn a_process_without_a_proof_counts_from_its_first_attempt() {
    let mut world = World::new(seconds(30), minutes(1));
    world.cloud = Cloud::Hangs;
    world.now = world.now.after(seconds(3)); // created, but busy with others
    world.run(seconds(60) - Duration::from_millis(1));
    assert_eq!(*world.seal.state(), State::Undecided);
    assert!(!world.may_serve());
    assert_eq!(world.transitions(), []);
    world.run(Duration::from_millis(1));
    assert_eq!(world.transitions(), [SEALED]);
}

#[test]
fn a_process_without_a_proof_is_activated_by_one_success() {
    let mut world = World::new(seconds(30), minutes(1));
    world.cloud = Cloud::Fails(Reason::Unreachable);
    world.run(seconds(40));
    world.cloud = Cloud::Works;
    world.run(seconds(19));
    assert_eq!(world.transitions(), [Transition::Activated]);
    assert!(world.may_serve());
}
