//! What was not tried says nothing about the key: a stopped process, a suspended machine, clocks
//! that were set. Nothing is served on what may be too old, and nothing is sealed by mistake.

use std::time::Duration;

use super::{Cloud, World, minutes, seconds};
use crate::api::Reason;
use crate::seal::{Cause, State, Transition};

const OUTAGE: Transition = Transition::Sealed(Cause::Outage);

#[test]
fn a_process_stopped_for_longer_than_the_ttl_wakes_active_and_proves_before_it_serves() {
    let mut world = World::active();
    world.sleep(minutes(20));
    assert!(!world.may_serve());
    world.tick();
    assert_eq!(*world.seal.state(), State::Active);
    assert_eq!(world.seal.next_attempt(world.now), Some(Duration::ZERO));
    world.run(seconds(1));
    assert!(world.may_serve());
    assert_eq!(world.transitions(), []);
}

#[test]
fn in_an_outage_a_woken_process_counts_the_ttl_from_its_first_attempt() {
    for slept in [seconds(60), minutes(20)] {
        let mut world = World::active();
        world.cloud = Cloud::Hangs;
        world.run(minutes(2));
        world.sleep(slept);
        let woken = world.attempts.len();
        world.run_until(minutes(6), World::is_sealed);
        let first = world.attempts[woken].started;
        assert_eq!(world.now.since(first), minutes(5), "after {slept:?}");
        assert_eq!(world.transitions(), [OUTAGE]);
    }
}

#[test]
fn a_time_out_that_went_off_in_the_sleep_is_no_failure() {
    let mut world = World::active();
    world.timer_wins = true;
    world.run_until(seconds(31), |world| world.seal.is_open());
    world.sleep(minutes(20));
    world.run(seconds(1));
    assert!(world.may_serve());
    assert_eq!(world.transitions(), []);
    assert_eq!(world.seal.last_failure(), None);
}

#[test]
fn a_request_heard_on_waking_makes_the_time_out_no_failure_either() {
    let mut world = World::active();
    world.timer_wins = true;
    world.run_until(seconds(31), |world| world.seal.is_open());
    world.sleep(minutes(20));
    world.request(false);
    world.run(Duration::ZERO);
    assert_eq!(world.seal.last_failure(), None);
}

#[test]
fn an_answer_read_after_waking_counts_by_the_age_of_its_question() {
    for (slept, serves) in [(minutes(4), true), (minutes(5), false)] {
        let mut world = World::active();
        let attempt = world.begin();
        world.sleep(slept);
        world.seal.finish(attempt, Ok(()), world.now, 0.5);
        assert_eq!(world.seal.may_serve(world.now), serves, "{slept:?}");
        assert_eq!(world.seal.proof() == Some(attempt.started), serves);
        assert_eq!(*world.seal.state(), State::Active);
    }
}

#[test]
fn a_no_read_after_waking_is_a_no() {
    let mut world = World::active();
    world.cloud = Cloud::Denies(Reason::AccessDenied);
    world.begin();
    world.sleep(minutes(1));
    world.run(Duration::ZERO);
    assert_eq!(world.transitions(), [Transition::Doubted]);
}

#[test]
fn a_doubt_is_cleared_up_after_waking_and_not_by_the_time_slept() {
    let mut world = World::active();
    world.cloud = Cloud::Denies(Reason::AccessDenied);
    world.run_until(seconds(31), |world| !world.log.is_empty());
    world.sleep(minutes(20));
    world.cloud = Cloud::Works;
    world.run(seconds(1));
    assert!(world.may_serve());
    assert_eq!(world.transitions(), [Transition::Doubted]);
}

#[test]
fn a_process_that_is_only_busy_does_not_put_the_seal_off() {
    let mut world = World::active();
    world.cloud = Cloud::Fails(Reason::Unreachable);
    let proof = world.seal.proof().expect("proved");
    let mut busy = seconds(0);
    while !world.is_sealed() {
        let due = world
            .seal
            .next_attempt(world.now)
            .expect("answered at once");
        let tick = world
            .seal
            .next_tick(world.now)
            .unwrap_or(due)
            .max(seconds(1));
        let step = if due.is_zero() { tick } else { due.min(tick) };
        world.now = world.now.after(step);
        assert!(world.now.since(proof) <= minutes(6), "too late");
        world.tick();
        busy = if due.is_zero() {
            busy + step
        } else {
            seconds(0)
        };
        if busy >= seconds(8) && !world.is_sealed() {
            world.begin();
            world.run(world.latency);
        }
    }
    let age = world.now.since(proof);
    assert!(age >= minutes(5) && age <= seconds(302), "{age:?}");
}

#[test]
fn clocks_that_disagree_drop_the_proof_and_an_attempt_is_due() {
    let set: [fn(&mut World, Duration); 2] = [World::set_wall_forward, World::set_wall_back];
    for set in set {
        let mut world = World::active();
        set(&mut world, seconds(6));
        assert!(!world.may_serve());
        world.tick();
        assert_eq!(world.seal.proof(), None);
        assert_eq!(*world.seal.state(), State::Active);
        assert_eq!(world.seal.next_attempt(world.now), Some(Duration::ZERO));
        world.run(seconds(1));
        assert!(world.may_serve());
        assert_eq!(world.transitions(), []);
    }
}

#[test]
fn a_clock_that_is_corrected_a_little_changes_nothing() {
    let mut world = World::active();
    let proof = world.seal.proof();
    world.set_wall_forward(seconds(4));
    world.tick();
    assert!(world.may_serve());
    assert_eq!(world.seal.proof(), proof);
}

#[test]
fn a_clock_set_in_an_outage_makes_the_ttl_count_from_the_next_attempt() {
    let set: [fn(&mut World, Duration); 2] = [World::set_wall_forward, World::set_wall_back];
    for set in set {
        let mut world = World::active();
        world.cloud = Cloud::Fails(Reason::Unreachable);
        world.run(minutes(3));
        set(&mut world, minutes(60));
        world.tick();
        let next = world.attempts.len();
        world.run_until(minutes(6), World::is_sealed);
        let first = world.attempts[next].started;
        assert_eq!(world.now.boot - first.boot, minutes(5));
    }
}

#[test]
fn a_clock_set_before_the_first_proof_changes_nothing() {
    let mut world = World::new(seconds(30), minutes(1));
    world.cloud = Cloud::Hangs;
    world.run(seconds(30));
    world.set_wall_forward(minutes(60));
    world.run_until(minutes(1), World::is_sealed);
    assert_eq!(world.elapsed(), minutes(1));
}

#[test]
fn a_success_across_a_set_clock_proves_nothing() {
    let mut world = World::active();
    world.begin();
    world.set_wall_back(minutes(1));
    world.run(world.latency);
    assert!(!world.may_serve());
    world.run(seconds(1));
    assert!(world.may_serve());
}
