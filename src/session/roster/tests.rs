use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::clock::tests::Hand;
use crate::session::tests::{at, id, time};

fn object() -> Object {
    Object {
        uid: "object".into(),
        version: "7".into(),
        veto: None,
        phase: None,
        reason: None,
        turned: Some(time(1)),
    }
}

#[test]
fn what_was_begun_before_a_veto_is_void_and_what_began_after_is_not() {
    let roster = Roster::default();
    let barrier = || Some(roster.get(&id())?.barrier?.at);
    roster.see(id(), object(), at(1, 1), false);
    assert_eq!(barrier(), None);
    let sealed = Object {
        veto: Some(Veto::Sealed),
        ..object()
    };
    roster.see(id(), sealed.clone(), at(5, 5), false);
    assert_eq!(barrier(), Some(at(5, 5)));
    // Its echo, and the unseal's: the proof was begun in between.
    roster.see(id(), sealed, at(6, 6), false);
    roster.see(id(), object(), at(7, 7), false);
    assert_eq!(barrier(), Some(at(5, 5)));
    assert!(
        roster
            .get(&id())
            .is_some_and(|seen| seen.object.veto.is_none())
    );
}

#[test]
fn who_may_have_missed_a_seal_takes_every_turn_for_one() {
    let turned = Object {
        turned: Some(time(9)),
        ..object()
    };
    for (strict, void) in [(true, true), (false, false)] {
        let roster = Roster::default();
        roster.see(id(), object(), at(1, 1), strict);
        roster.see(id(), turned.clone(), at(5, 5), strict);
        let seen = roster.get(&id()).expect("seen");
        assert_eq!(seen.barrier.is_some(), void);
        let again = Object {
            uid: "another".into(),
            ..turned.clone()
        };
        roster.see(id(), again, at(8, 8), strict);
        let now = roster.get(&id()).expect("seen");
        let barrier = now.barrier.as_ref().map(|barrier| barrier.at);
        assert_eq!(barrier, Some(at(8, 8)), "another object");
        assert!(now.changes > seen.changes);
    }
}

#[test]
fn what_was_begun_before_a_no_does_not_count_whatever_the_object_says() {
    let roster = Roster::default();
    let denial = Some(Failure::denial(Reason::AccessDenied, "no"));
    let no = Barrier {
        at: at(5, 5),
        denial,
    };
    roster.void(&id(), no.clone()); // nobody has seen it
    roster.see(id(), object(), at(1, 1), false);
    let counts = |proof| roster.with(&id(), |seen| seen.expect("seen").counts(proof));
    assert!(counts(at(1, 1)));
    roster.void(&id(), no.clone());
    roster.see(id(), object(), at(6, 6), false);
    assert!(!counts(at(4, 4)) && !counts(at(5, 5)) && counts(at(6, 6)));
    assert_eq!(roster.get(&id()).and_then(|seen| seen.barrier), Some(no));
}

#[test]
fn a_session_ends_with_a_suspension_and_with_its_object_also_where_nobody_acted_on_it() {
    let suspended = Object {
        veto: Some(Veto::Suspended),
        ..object()
    };
    let sealed = Object {
        veto: Some(Veto::Sealed),
        ..object()
    };
    let another = Object {
        uid: "another".into(),
        ..object()
    };
    let roster = Roster::default();
    let issued = at(3, 3).wall.as_secs();
    let goes_on = |issued| {
        roster.with(&id(), |seen| {
            seen.expect("seen").goes_on(issued, at(10, 10))
        })
    };
    for (second, object, ends) in [
        (1, object(), false),
        (4, sealed, false), // by its epoch, when it is one
        (5, suspended.clone(), true),
        (6, suspended, true),
        (7, object(), true),
    ] {
        roster.see(id(), object, at(second, second), true);
        assert_eq!(goes_on(issued), !ends, "{second}");
    }
    assert!(!goes_on(at(4, 4).wall.as_secs()));
    assert!(goes_on(at(5, 5).wall.as_secs()), "in the same second");
    roster.see(id(), another, at(9, 9), true);
    assert!(!goes_on(at(8, 8).wall.as_secs()));
}

#[test]
fn a_clock_that_is_set_ends_no_other_sessions() {
    const HOUR: Duration = Duration::from_hours(1);
    type Set = fn(&Hand, Duration);
    let rows: [(Set, Set); 2] = [
        (Hand::set_forward, Hand::set_back),
        (Hand::set_back, Hand::set_forward),
    ];
    for (wrong, right) in rows {
        let (roster, hand) = (Roster::default(), Hand::default());
        hand.forward(2 * HOUR);
        roster.see(id(), object(), hand.now(), true);
        let ended = hand.now().wall.as_secs();
        wrong(&hand, HOUR);
        let suspended = Object {
            veto: Some(Veto::Suspended),
            ..object()
        };
        roster.see(id(), suspended, hand.now(), true);
        let wrongly = hand.now().wall.as_secs();
        hand.forward(Duration::from_secs(10));
        let goes_on = |issued| {
            let now = hand.now();
            roster.with(&id(), |seen| seen.expect("seen").goes_on(issued, now))
        };
        assert!(!goes_on(wrongly - 1) && goes_on(wrongly + 1));
        right(&hand, HOUR);
        assert!(!goes_on(ended - 1) && goes_on(ended + 1));
    }
}

#[test]
fn an_object_that_comes_again_is_no_change() {
    let roster = Roster::default();
    let changes = || roster.get(&id()).expect("seen").changes;
    roster.see(id(), object(), at(1, 1), true);
    let before = changes();
    roster.see(id(), object(), at(2, 2), true);
    assert_eq!(changes(), before);
    let another = Object {
        version: "8".into(),
        ..object()
    };
    roster.see(id(), another, at(3, 3), true);
    assert!(changes() > before, "the rest of it may say something new");
}

#[test]
fn an_object_that_is_gone_is_not_there() {
    let roster = Roster::default();
    roster.see(id(), object(), at(1, 1), true);
    assert!(roster.keep(|_| true).is_empty());
    assert_eq!(roster.keep(|_| false), [id()]);
    assert!(roster.get(&id()).is_none());
}
