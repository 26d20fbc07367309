//! Who waits for keys, and what wakes them.

use std::cell::Cell;
use std::sync::Arc;

use tokio::task::yield_now;

use super::*;
use crate::lock::lock;

const PATIENCE: Duration = Duration::from_mins(1);

fn globex() -> TenantId {
    TenantId::new("tenants", "globex")
}

fn is_waited_for(held: &Held) -> bool {
    !lock(&held.waiting.0).is_empty()
}

/// How often one who waits for acme's keys has looked, after all that woke it in vain and at the end.
async fn looks(held: &Held, in_vain: impl FnOnce(), at_last: impl FnOnce()) -> (u32, u32) {
    let looks = Cell::new(0);
    let look = || {
        looks.set(looks.get() + 1);
        held.get(&id(), at(10, 10))
    };
    let others = async {
        yield_now().await;
        in_vain();
        yield_now().await;
        let before = looks.get();
        at_last();
        before
    };
    let acme = id();
    let (found, before) = tokio::join!(held.wait(&acme, PATIENCE, look), others);
    assert!(found.is_some(), "not woken");
    assert!(!is_waited_for(held), "somebody still waits");
    (before, looks.get())
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_its_own_tenant_alone() {
    let (held, (one, record, ..)) = (Held::default(), rotated());
    let others = || {
        for _ in 0..1_000 {
            held.hold(&globex(), hold(&record, &one, at(10, 10)));
            held.seen(&globex(), 1);
            held.nudge(&globex());
        }
    };
    let its = || held.hold(&id(), hold(&record, &one, at(10, 10)));
    assert_eq!(looks(&held, others, its).await, (1, 2));

    held.wipe(&id());
    let its = || {
        held.nudge(&id());
        its();
    };
    assert_eq!(looks(&held, || held.nudge(&id()), its).await, (2, 3));
    held.wipe(&id());
    assert_eq!(looks(&held, || held.nudge_all(), its).await, (2, 3));
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_all_who_wait_look_again() {
    let (held, (one, record, ..)) = (Held::default(), rotated());
    held.hold(&id(), hold(&record, &one, at(10, 10)));
    held.sweep(at(2, 2)); // nothing is given at 10 s, before the sweep
    let swept = || held.sweep(at(10, 10));
    assert_eq!(looks(&held, || (), swept).await, (1, 2));
}

#[tokio::test(start_paused = true)]
async fn who_has_given_up_leaves_nothing_behind_and_takes_nobody_along() {
    let held = Arc::new(Held::default());
    let waiter = |patience| {
        let held = held.clone();
        tokio::spawn(async move { held.wait(&id(), patience, || None::<()>).await })
    };
    let (short, long) = (waiter(PATIENCE / 2), waiter(PATIENCE));
    short.await.expect("ended");
    assert!(is_waited_for(&held), "one still waits");
    long.await.expect("ended");
    assert!(!is_waited_for(&held));
    let aborted = waiter(PATIENCE);
    yield_now().await;
    assert!(is_waited_for(&held));
    aborted.abort();
    assert!(aborted.await.is_err());
    assert!(!is_waited_for(&held));
}
