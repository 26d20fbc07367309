//! Rules 4 to 7 as far as they are about proofs: how they are dated, what makes them void, and what
//! may be done with one.

use std::time::Duration;

use super::{Cloud, World, minutes, seconds};
use crate::api::Reason;
use crate::clock::Moment;
use crate::provider::Failure;
use crate::seal::{Cause, Seal, State, Timing, Transition};

const START: Moment = Moment {
    boot: Duration::from_secs(1_000),
    wall: Duration::from_hours(500_000),
};

fn timing(interval: u64, proof_ttl: u64) -> Timing {
    Timing {
        interval: seconds(interval),
        proof_ttl: seconds(proof_ttl),
    }
}

#[test]
fn the_first_attempt_is_due_at_once_and_activates() {
    let mut seal = Seal::new(timing(30, 300), START);
    assert_eq!(*seal.state(), State::Undecided);
    assert!(!seal.may_serve(START));
    assert_eq!(seal.next_attempt(START), Some(Duration::ZERO));
    let attempt = seal.begin(START);
    assert!(!attempt.fresh_token);
    assert_eq!(attempt.deadline, seconds(10));
    assert!(seal.is_open());
    assert_eq!(seal.next_attempt(START), None, "at most one is open");
    let answered = START.after(seconds(3));
    let transition = seal.finish(attempt, Ok(()), answered, 0.5);
    assert_eq!(transition, Some(Transition::Activated));
    assert_eq!(
        seal.proof(),
        Some(START),
        "dated before its request was sent"
    );
}

#[test]
fn checks_run_every_interval_less_up_to_a_tenth() {
    for (jitter, gap) in [
        (0.0, 27.0),
        (0.5, 28.5),
        (1.0, 30.0),
        (f64::NAN, 28.5),
        (7.0, 30.0),
    ] {
        let mut world = World::active();
        world.jitters = vec![jitter];
        world.run(minutes(3));
        let rhythm = world.rhythm(3);
        let near = rhythm.iter().all(|measured| (measured - gap).abs() < 1e-6);
        assert!(near, "{rhythm:?}");
    }
}

#[test]
fn a_proof_is_good_for_less_than_the_ttl_on_both_clocks() {
    let world = World::active();
    let proof = world.seal.proof().expect("proved");
    let just_before = proof.after(minutes(5) - Duration::from_millis(1));
    assert!(world.seal.may_serve(just_before));
    assert!(!world.seal.may_serve(proof.after(minutes(5))));
    let ahead = Moment {
        wall: just_before.wall + Duration::from_millis(1),
        ..just_before
    };
    assert!(
        !world.seal.may_serve(ahead),
        "the older of both ages counts"
    );
}

#[test]
fn a_void_drops_every_proof_and_what_is_under_way() {
    let mut world = World::active();
    let before = world.begin();
    world.void();
    assert!(!world.may_serve());
    assert_eq!(*world.seal.state(), State::Active);
    assert_eq!(world.seal.next_attempt(world.now), Some(Duration::ZERO));
    assert_eq!(world.seal.finish(before, Ok(()), world.now, 0.5), None);
    assert!(!world.may_serve());
    world.run(seconds(1));
    assert!(world.may_serve());
    assert_eq!(world.transitions(), []);
}

#[test]
fn a_void_in_an_outage_makes_the_ttl_count_from_the_next_attempt() {
    let mut world = World::active();
    world.cloud = Cloud::Fails(Reason::Unreachable);
    world.run(minutes(4));
    world.void();
    let next = world.attempts.len();
    world.run_until(minutes(6), World::is_sealed);
    assert_eq!(world.now.since(world.attempts[next].started), minutes(5));
}

#[test]
fn a_void_gives_a_doubt_its_time_again() {
    let mut world = World::active();
    world.cloud = Cloud::Denies(Reason::AccessDenied);
    world.run_until(seconds(31), |world| !world.log.is_empty());
    world.cloud = Cloud::Hangs;
    world.run(seconds(5));
    world.void();
    world.run(seconds(4));
    assert!(!world.is_sealed());
    assert!(!world.may_serve());
    world.run(seconds(2));
    assert!(world.is_sealed());
}

#[test]
fn a_suspended_tenant_resumes_with_a_proof_and_unsealed() {
    let mut world = World::active();
    world.void();
    world.sleep(minutes(600)); // suspended: nobody calls
    assert!(!world.may_serve());
    world.void();
    world.tick();
    assert_eq!(*world.seal.state(), State::Active);
    world.run(seconds(1));
    assert!(world.may_serve());
    assert_eq!(world.transitions(), []);
}

#[test]
fn a_superseded_attempt_is_ignored() {
    let mut world = World::active();
    let proof = world.seal.proof();
    let old = world.begin();
    let new = world.begin();
    let denial = Failure::denial(Reason::AccessDenied, "no");
    assert_eq!(world.seal.finish(old, Err(denial), world.now, 0.5), None);
    assert!(world.seal.may_serve(world.now));
    assert_eq!(world.seal.proof(), proof);
    world.seal.finish(new, Ok(()), world.now, 0.5);
    assert_eq!(world.seal.finish(new, Ok(()), world.now, 0.5), None);
}

#[test]
fn a_probe_of_a_new_spec_counts_as_a_success() {
    let begun_before = Moment {
        boot: START.boot - seconds(1),
        wall: START.wall - seconds(1),
    };
    let mut seal = Seal::new(timing(30, 300), START);
    let transition = seal.adopt_proof(begun_before, START);
    assert_eq!(transition, Some(Transition::Activated));
    assert_eq!(seal.proof(), Some(begun_before));
    assert!(seal.may_serve(START));

    let mut world = World::sealed();
    world.run(seconds(5));
    assert_eq!(world.adopt(seconds(2)), Some(Transition::Unsealed));
    assert!(world.may_serve());
}

#[test]
fn a_probe_begun_before_a_seal_a_doubt_or_a_void_proves_nothing() {
    let mut world = World::sealed();
    world.run(seconds(1));
    assert_eq!(world.adopt(seconds(2)), None);
    assert!(world.is_sealed());

    let mut world = World::active();
    world.cloud = Cloud::Denies(Reason::AccessDenied);
    world.run_until(seconds(31), |world| !world.log.is_empty());
    world.adopt(Duration::from_millis(50));
    assert!(!world.may_serve(), "the doubt is younger");

    let mut world = World::active();
    world.void();
    world.adopt(Duration::from_millis(1));
    assert!(!world.may_serve());
}

#[test]
fn a_probe_of_a_new_spec_makes_an_attempt_on_the_old_one_worthless() {
    let mut world = World::active();
    let old = world.begin();
    world.adopt(Duration::from_millis(1));
    assert!(!world.seal.is_open());
    let denial = Failure::denial(Reason::KeyDisabled, "no");
    assert_eq!(world.seal.finish(old, Err(denial), world.now, 0.5), None);
    assert!(world.may_serve());
}

#[test]
fn an_older_probe_never_replaces_a_newer_proof() {
    let mut world = World::active();
    let proof = world.seal.proof();
    world.adopt(seconds(20));
    assert_eq!(world.seal.proof(), proof);
}

#[test]
fn a_tighter_timing_holds_from_now_on() {
    let mut world = World::active();
    world.run(seconds(12));
    world.seal.set_timing(timing(60, 300));
    assert_ne!(world.seal.next_attempt(world.now), Some(Duration::ZERO));
    world.seal.set_timing(timing(5, 300));
    assert_eq!(world.seal.next_attempt(world.now), Some(Duration::ZERO));
    world.run(seconds(20));
    assert!(world.rhythm(3).iter().all(|gap| (gap - 4.75).abs() < 1e-6));
}

#[test]
fn a_shorter_ttl_seals_nobody_who_was_not_tried_under_it() {
    let mut seal = Seal::new(timing(150, 300), START);
    let attempt = seal.begin(START);
    seal.finish(attempt, Ok(()), START, 0.5);
    let now = START.after(seconds(130));
    seal.set_timing(timing(30, 60));
    assert!(!seal.may_serve(now));
    assert_eq!(seal.tick(now, 0.5), None);
    let attempt = seal.begin(now);
    let trouble = Failure::transient(Reason::Unreachable, "trouble");
    let answered = now.after(seconds(1));
    assert_eq!(seal.finish(attempt, Err(trouble), answered, 0.5), None);
    let sealed = Transition::Sealed(Cause::Outage);
    let mut last = None;
    for second in 1..=60 {
        last = last.or(seal
            .tick(now.after(seconds(second)), 0.5)
            .map(|t| (second, t)));
    }
    assert_eq!(last, Some((60, sealed)));
}

#[test]
fn an_interval_always_leaves_two_checks_per_proof() {
    let mut world = World::new(minutes(60), minutes(1));
    world.jitters = vec![1.0];
    world.run(minutes(2));
    assert!(world.rhythm(2).iter().all(|gap| (gap - 30.0).abs() < 1e-6));
}
