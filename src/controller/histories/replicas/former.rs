//! What a former master key brings to light between two checks, on the holder and on a replica that
//! proves on demand.

use super::*;
use crate::session::Hold;

impl Town {
    /// Where this replica serves, on a proof that was made just now.
    pub(super) async fn serving(replica: usize) -> Self {
        let mut town = Self::new(1).await;
        if replica == GUEST {
            town.processes[HOLDER].next = Duration::MAX; // the calls are the guest's
        }
        town.until_proved(replica).await;
        town
    }

    pub(super) async fn until_proved(&mut self, replica: usize) {
        self.play(Event::Asks(replica)).await;
        for _ in 0..20 {
            let now = self.clock.now();
            let hold = self.held(replica);
            if hold.is_some_and(|hold| now.since(hold.proof) < SECOND) {
                return;
            }
            self.pass(1).await;
        }
        panic!("it is not proved");
    }

    pub(super) fn held(&self, replica: usize) -> Option<Arc<Hold>> {
        let at_hand = serving::at_hand(&self.processes[replica].ctx, &tenant());
        at_hand.expect("nothing forbids it")
    }

    pub(super) async fn feel(&mut self, mood: Mood) {
        self.play(Event::Feels(mood)).await;
    }

    /// Somebody needs the former master key, and the customer's key says no.
    async fn refuse(&mut self, replica: usize) {
        let calls = self.cloud.calls();
        self.feel(Mood::Denies).await;
        self.play(Event::Opens(replica)).await;
        assert_eq!(self.cloud.calls(), calls + 1, "it was not asked for");
        assert!(lock(&self.refused[replica]).is_some(), "it was not refused");
        assert!(self.held(replica).is_none(), "served after a no");
    }
}

fn played<F: Future<Output = ()>>(history: impl Fn(usize) -> F) {
    for replica in [HOLDER, GUEST] {
        runtime().block_on(history(replica));
    }
}

#[test]
fn the_yes_to_a_check_from_before_the_no_brings_nothing_back() {
    played(async |replica| {
        let mut town = Town::serving(replica).await;
        let calls = town.cloud.calls();
        town.feel(Mood::Hangs).await;
        while town.cloud.calls() == calls {
            town.pass(1).await;
        }
        town.refuse(replica).await;
        town.feel(Mood::Works).await;
        assert!(town.held(replica).is_none(), "the check brought it back");
        assert!(town.processes[replica].ctx.keys.is_empty(), "and is kept");
        town.pass(3).await;
        assert!(town.held(replica).is_some(), "no later check cleared it up");
    });
}

#[test]
fn a_no_is_cleared_up_at_once() {
    played(async |replica| {
        let mut town = Town::serving(replica).await;
        town.refuse(replica).await;
        town.feel(Mood::Works).await;
        town.pass(3).await;
        assert!(town.held(replica).is_some(), "it waits for the next check");
    });
}

#[test]
fn a_no_that_nobody_clears_up_seals() {
    for mood in [Mood::Denies, Mood::Fails] {
        played(async |replica| {
            let mut town = Town::serving(replica).await;
            town.refuse(replica).await;
            town.feel(mood).await;
            town.pass(8).await;
            let sealed = if replica == HOLDER {
                town.processes[HOLDER].is_sealed()
            } else {
                let trouble = town.processes[GUEST].ctx.guests.trouble(&tenant());
                trouble == Some(Refused::Sealed(Some(Reason::AccessDenied)))
            };
            assert!(sealed, "{mood:?} on {replica}");
        });
    }
}

#[test]
fn a_new_master_key_opens_on_a_replica_before_it_sees_a_status_that_tells_of_it() {
    runtime().block_on(async {
        let mut town = Town::new(1).await;
        town.clock.pass(HOUR);
        town.until_proved(GUEST).await;
        let before = town.held(GUEST).expect("held");
        town.rotate().await;
        let stale = town.held(GUEST).expect("held");
        assert_eq!(stale.active().id(), before.active().id(), "it has not seen");
        let (ctx, since) = (town.processes[GUEST].ctx.clone(), town.clock.now());
        let new = town.active();
        town.clock.tick(); // the proof begins after the look at the record
        let asking = async move { serving::version(&ctx, &tenant(), &stale, &new, since).await };
        let asking = tokio::spawn(asking);
        town.work().await;
        let (hold, version) = asking.await.expect("no panic").expect("opened");
        assert_eq!(*version.id(), town.active());
        assert_eq!(hold.active().id(), version.id());
    });
}
