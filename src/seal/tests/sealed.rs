//! Rule 3: a sealed tenant is tried every 30 s, and one success unseals unless it flaps.

use super::{Cloud, World, minutes, seconds};
use crate::api::Reason;
use crate::seal::{Cause, State, Transition};

const DENIED: Cloud = Cloud::Denies(Reason::AccessDenied);

/// Sealed by an outage a moment ago.
fn out() -> World {
    let mut world = World::active();
    world.cloud = Cloud::Fails(Reason::Unreachable);
    world.run_until(minutes(6), World::is_sealed);
    world.log.clear();
    world
}

/// Sealed, after so many flaps.
fn flapped(flaps: usize) -> World {
    let mut world = World::sealed();
    for _ in 0..flaps {
        world.cloud = Cloud::Works;
        world.run_until(seconds(31), World::may_serve);
        world.cloud = DENIED;
        world.run_until(seconds(33), World::is_sealed);
    }
    world.log.clear();
    world
}

#[test]
fn it_is_tried_every_thirty_seconds_less_up_to_a_tenth() {
    for (jitter, gap) in [(0.0, 27.0), (0.5, 28.5), (1.0, 30.0)] {
        for cloud in [DENIED, Cloud::Throttles(300), Cloud::Hangs] {
            let mut world = World::sealed();
            world.cloud = cloud;
            world.jitters = vec![jitter];
            world.run(minutes(3));
            let rhythm = world.rhythm(3);
            let near = rhythm.iter().all(|measured| (measured - gap).abs() < 1e-6);
            assert!(near, "{rhythm:?}");
        }
    }
}

#[test]
fn one_success_unseals() {
    for mut world in [World::sealed(), out()] {
        world.cloud = Cloud::Works;
        world.run(seconds(30));
        assert_eq!(world.transitions(), [Transition::Unsealed]);
        assert!(world.may_serve());
        assert_eq!(world.seal.proof(), Some(world.newest().started));
        assert_eq!(world.seal.failure(), None);
    }
}

#[test]
fn every_seal_is_counted_once() {
    assert_eq!(World::active().seal.seals(), 0);
    assert_eq!(flapped(2).seal.seals(), 3);
    let mut world = out();
    world.cloud = DENIED;
    world.run(minutes(1));
    assert_eq!(world.seal.seals(), 1, "another cause is no other seal");
}

#[test]
fn a_request_is_tried_at_once() {
    let mut world = World::sealed();
    world.cloud = Cloud::Works;
    world.request(false);
    world.run(seconds(1));
    assert_eq!(world.transitions(), [Transition::Unsealed]);
}

#[test]
fn a_request_during_an_attempt_is_tried_right_after_it() {
    let mut world = World::sealed();
    world.cloud = Cloud::Hangs;
    world.run_until(seconds(31), |world| world.seal.is_open());
    world.cloud = Cloud::Works;
    world.request(false);
    world.run(seconds(11));
    assert_eq!(world.transitions(), [Transition::Unsealed]);
}

#[test]
fn after_three_flaps_two_successes_in_a_row_are_needed() {
    let mut world = flapped(3);
    world.cloud = Cloud::Works;
    world.run_until(seconds(31), |world| world.seal.last_failure().is_none());
    assert!(world.is_sealed(), "the first success is not enough");
    world.run(seconds(2));
    assert_eq!(world.transitions(), [Transition::Unsealed]);
    assert!(world.rhythm(1)[0] < 2.2, "the second try comes soon");
}

#[test]
fn two_flaps_are_none() {
    let mut world = flapped(2);
    world.cloud = Cloud::Works;
    world.run_until(seconds(31), |world| world.seal.last_failure().is_none());
    assert_eq!(world.transitions(), [Transition::Unsealed]);
}

#[test]
fn a_failure_between_two_successes_starts_the_count_again() {
    for between in [DENIED, Cloud::Hangs] {
        let mut world = flapped(3);
        world.cloud = Cloud::Works;
        world.run_until(seconds(31), |world| world.seal.last_failure().is_none());
        world.cloud = between;
        world.run_until(seconds(31), |world| world.seal.last_failure().is_some());
        world.cloud = Cloud::Works;
        world.run_until(seconds(31), |world| world.seal.last_failure().is_none());
        assert!(world.is_sealed());
        world.run(seconds(2));
        assert!(world.may_serve());
    }
}

#[test]
fn flaps_are_forgotten_after_ten_minutes() {
    let mut world = flapped(3);
    world.run(minutes(10));
    world.cloud = Cloud::Works;
    world.run_until(seconds(31), |world| world.seal.last_failure().is_none());
    assert_eq!(world.transitions(), [Transition::Unsealed]);
}

#[test]
fn a_requested_unseal_needs_one_success_even_when_flapping() {
    let mut world = flapped(4);
    world.cloud = Cloud::Works;
    world.request(true);
    world.run_until(seconds(1), |world| world.seal.last_failure().is_none());
    assert_eq!(world.transitions(), [Transition::Unsealed]);
}

#[test]
fn a_requested_unseal_that_failed_is_used_up() {
    let mut world = flapped(3);
    world.request(true);
    world.run(seconds(1));
    world.cloud = Cloud::Works;
    world.run_until(seconds(31), |world| world.seal.last_failure().is_none());
    assert!(world.is_sealed());
}

#[test]
fn an_outage_that_turns_out_to_be_a_no_is_told_again() {
    let mut world = out();
    let since = |world: &World| match *world.seal.state() {
        State::Sealed { since, .. } => since,
        _ => panic!("not sealed"),
    };
    let sealed = since(&world);
    world.cloud = Cloud::Denies(Reason::KeyDisabled);
    world.run(minutes(2));
    assert_eq!(world.transitions(), [Transition::Sealed(Cause::Denial)]);
    assert_eq!(since(&world), sealed);
    let why = world.seal.failure().map(|failure| failure.reason);
    assert_eq!(why, Some(Reason::KeyDisabled));
}

#[test]
fn only_another_no_explains_a_seal_anew() {
    let mut world = World::sealed();
    let reasons = |world: &World| {
        let newest = world.seal.last_failure().map(|(failure, _)| failure.reason);
        (world.seal.failure().map(|failure| failure.reason), newest)
    };
    world.cloud = Cloud::Denies(Reason::KeyNotFound);
    world.run(minutes(1));
    let gone = Some(Reason::KeyNotFound);
    assert_eq!(reasons(&world), (gone, gone));
    world.cloud = Cloud::Fails(Reason::ProviderError);
    world.run(minutes(1));
    assert_eq!(reasons(&world), (gone, Some(Reason::ProviderError)));
    assert_eq!(world.transitions(), [], "nothing to act on");

    let mut world = out();
    world.cloud = Cloud::Misconfigured;
    world.run(minutes(1));
    let expected = (Some(Reason::Unreachable), Some(Reason::CredentialRejected));
    assert_eq!(reasons(&world), expected);
}

#[test]
fn an_attempt_begun_before_the_seal_unseals_nothing_but_is_worth_another() {
    let mut world = World::active();
    world.cloud = Cloud::Fails(Reason::Unreachable);
    let proof = world.seal.proof().expect("proved");
    world.run(minutes(5) - world.now.since(proof) - seconds(1));
    world.cloud = Cloud::Works;
    world.latency = seconds(3);
    world.begin();
    world.run_until(seconds(1), World::is_sealed);
    world.log.clear();
    world.run(seconds(3));
    assert!(world.is_sealed(), "the answer is there, and it is old");
    world.run(seconds(3));
    assert_eq!(world.transitions(), [Transition::Unsealed]);
}

#[test]
fn only_after_a_no_every_try_takes_a_fresh_token() {
    let mut world = World::sealed();
    world.run(minutes(1));
    assert!(world.newest().fresh_token);
    let mut world = out();
    world.run(minutes(1));
    assert!(!world.newest().fresh_token);
}
