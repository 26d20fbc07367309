//! Rule 1: a no is confirmed by a second attempt and then obeyed.

use std::time::Duration;

use super::{Cloud, World, seconds};
use crate::api::Reason;
use crate::seal::{Cause, State, Transition};

const SEALED: Transition = Transition::Sealed(Cause::Denial);

fn reason(world: &World) -> Option<Reason> {
    world.seal.failure().map(|failure| failure.reason)
}

/// An active tenant that has heard its first no this very moment.
fn doubted() -> World {
    let mut world = World::active();
    world.cloud = Cloud::Denies(Reason::AccessDenied);
    world.run_until(seconds(31), |world| !world.log.is_empty());
    assert_eq!(world.transitions(), [Transition::Doubted]);
    world
}

#[test]
fn from_the_first_no_nothing_is_served() {
    let world = doubted();
    assert_eq!(*world.seal.state(), State::Active);
    assert!(!world.may_serve());
    assert_eq!(reason(&world), Some(Reason::AccessDenied));
}

#[test]
fn a_no_that_is_confirmed_a_second_later_seals() {
    let mut world = doubted();
    let heard = world.elapsed();
    world.run(seconds(2));
    assert_eq!(world.transitions(), [Transition::Doubted, SEALED]);
    let State::Sealed { cause, since } = *world.seal.state() else {
        panic!("not sealed");
    };
    assert_eq!(cause, Cause::Denial);
    assert_eq!(
        since.boot,
        world.start().boot + heard + Duration::from_millis(1_100)
    );
    assert!(world.newest().fresh_token);
    assert_eq!(world.seal.proof(), None);
}

#[test]
fn the_newest_no_explains_the_seal() {
    let mut world = doubted();
    world.cloud = Cloud::Denies(Reason::KeyDisabled);
    world.run(seconds(2));
    assert_eq!(reason(&world), Some(Reason::KeyDisabled));
}

#[test]
fn a_yes_to_the_confirmation_clears_the_doubt() {
    let mut world = doubted();
    world.cloud = Cloud::Works;
    world.run(seconds(2));
    assert!(world.may_serve());
    assert_eq!(world.transitions(), [Transition::Doubted]);
    assert_eq!(world.seal.proof(), Some(world.newest().started));
    assert_eq!(reason(&world), None);
    assert_eq!(world.seal.last_failure(), None);
}

#[test]
fn a_second_no_much_later_is_a_first_no_again() {
    let mut world = doubted();
    world.cloud = Cloud::Works;
    world.run(seconds(5));
    world.cloud = Cloud::Denies(Reason::AccessDenied);
    world.run_until(seconds(31), |world| world.log.len() == 2);
    assert_eq!(world.transitions(), [Transition::Doubted; 2]);
    assert!(!world.is_sealed());
}

#[test]
fn a_confirmation_without_a_clear_answer_is_repeated_each_second_and_seals_after_five() {
    for unclear in [Cloud::Fails(Reason::ProviderError), Cloud::Misconfigured] {
        let mut world = doubted();
        let heard = world.elapsed().as_secs_f64();
        let before = world.attempts.len();
        world.cloud = unclear;
        world.run(seconds(10));
        assert_eq!(world.attempts.len() - before, 5);
        assert!(world.rhythm(4).iter().all(|gap| (gap - 1.1).abs() < 1e-6));
        assert_eq!(world.transitions(), [Transition::Doubted, SEALED]);
        assert!((world.log[1].0 - heard - 6.0).abs() < 1e-6);
        assert_eq!(
            reason(&world),
            Some(Reason::AccessDenied),
            "the no that was heard"
        );
    }
}

#[test]
fn a_confirmation_that_clears_up_late_but_in_time_keeps_the_tenant_active() {
    let mut world = doubted();
    world.cloud = Cloud::Fails(Reason::Unreachable);
    world.run(seconds(4));
    world.cloud = Cloud::Works;
    world.run(seconds(2));
    assert!(world.may_serve());
    assert_eq!(world.transitions(), [Transition::Doubted]);
}

#[test]
fn a_confirmation_that_hangs_seals_after_five_seconds() {
    let mut world = doubted();
    let heard = world.elapsed().as_secs_f64();
    world.cloud = Cloud::Hangs;
    world.run(seconds(10));
    assert_eq!(world.transitions(), [Transition::Doubted, SEALED]);
    assert!((world.log[1].0 - heard - 6.0).abs() < 1e-6);
    assert_eq!(reason(&world), Some(Reason::AccessDenied));
}

#[test]
fn a_confirmation_that_nobody_begins_seals_five_seconds_after_it_was_due() {
    let mut world = doubted();
    let heard = world.now;
    for _ in 0..20 {
        let wait = world.seal.next_tick(world.now);
        world.now = world.now.after(wait.unwrap_or_default());
        world.tick();
    }
    let sealed = world.transitions() == [Transition::Doubted, SEALED];
    assert!(sealed && world.now == heard.after(seconds(6)));
}

#[test]
fn a_process_without_a_verdict_confirms_a_no_too() {
    let mut world = World::new(seconds(30), seconds(300));
    world.cloud = Cloud::Denies(Reason::KeyNotFound);
    world.run(seconds(1));
    assert_eq!(world.transitions(), [Transition::Doubted]);
    assert_eq!(*world.seal.state(), State::Undecided);
    world.run(seconds(1));
    assert_eq!(world.transitions(), [Transition::Doubted, SEALED]);
}

#[test]
fn asking_does_not_hasten_the_confirmation() {
    let mut world = doubted();
    world.request(false);
    let wait = world.seal.next_attempt(world.now);
    assert_eq!(wait, Some(seconds(1)));
}

#[test]
fn a_no_just_before_the_proof_expires_is_told_as_a_no() {
    let mut world = World::active();
    world.cloud = Cloud::Fails(Reason::Unreachable);
    let proof = world.seal.proof().expect("proved");
    world.run(seconds(294) - world.now.since(proof));
    world.cloud = Cloud::Denies(Reason::KeyDisabled);
    world.latency = seconds(4);
    world.run(seconds(20));
    assert_eq!(world.transitions(), [Transition::Doubted, SEALED]);
}

#[test]
fn a_no_to_something_else_is_confirmed_too_and_a_yes_from_before_does_not_clear_it_up() {
    for (cloud, sealed) in [
        (Cloud::Works, false),
        (Cloud::Denies(Reason::AccessDenied), true),
        (Cloud::Hangs, true),
    ] {
        let mut world = World::active();
        world.latency = seconds(2);
        world.run_until(seconds(31), |world| world.seal.is_open());
        let open = world.newest();
        world.run(seconds(1));
        world.refuse();
        world.latency = Duration::from_millis(100);
        world.cloud = cloud;
        assert_eq!(world.transitions(), [Transition::Doubted]);
        world.run(Duration::from_millis(1_050)); // the check's yes has come
        assert!(!world.may_serve());
        world.run(seconds(6));
        assert_eq!(world.is_sealed(), sealed, "{cloud:?}");
        assert_eq!(world.may_serve(), !sealed, "{cloud:?}");
        assert!(world.newest().started.boot >= open.started.boot + seconds(2));
        assert!(world.newest().fresh_token, "{cloud:?}");
    }
}

#[test]
fn a_no_to_something_else_neither_confirms_a_no_nor_explains_a_seal() {
    let mut world = doubted();
    world.refuse();
    assert_eq!(world.transitions(), [Transition::Doubted]);
    let mut world = World::sealed();
    world.refuse();
    assert_eq!(world.transitions(), []);
}
