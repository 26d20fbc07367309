//! What a no ends, on the holder and on a replica that proves on demand.

use super::*;

impl Town {
    /// So many seconds, or until it is so, in which the guest is used.
    pub(super) async fn used(&mut self, seconds: u64, until: impl Fn(&Self) -> bool) {
        for _ in 0..seconds {
            if until(self) {
                return;
            }
            self.play(Event::Asks(GUEST)).await;
            self.pass(1).await;
        }
    }
}

#[test]
fn a_no_is_obeyed_while_the_holder_is_busy_writing() {
    runtime().block_on(async {
        let mut town = Town::new(1).await;
        town.clock.pass(HOUR);
        town.until_proved(HOLDER).await;
        let former = town.former.to_string();
        town.store.ledger().erasable.insert(former.clone());
        town.change(|object| {
            let keys = object.spec.master_key.get_or_insert_default();
            keys.erased_ids.push(former);
        });
        town.ask("verify");
        town.cloud.set_mood(0, Mood::Denies);
        // Its look gets no further than to the write, so nobody takes the answer.
        town.store.set_fault(Some((0, Fault::CrashBefore)));
        let object = town.object();
        let look = town.processes[HOLDER].work(&object).await;
        assert!(look.is_err(), "nothing was to be written");
        town.tasks().await;
        assert!(town.held(HOLDER).is_none(), "served after a no");

        town.cloud.set_mood(0, Mood::Works);
        town.pass(3).await;
        assert!(town.held(HOLDER).is_some(), "it was not cleared up");
    });
}

#[test]
fn a_replica_that_has_sealed_by_itself_serves_no_epoch_from_before_the_holder_did() {
    runtime().block_on(async {
        let mut town = Town::serving(GUEST).await;
        let before = town.held(GUEST).expect("held").epoch;
        town.cloud.set_mood(0, Mood::Denies);
        town.used(15, |town| town.held(GUEST).is_none()).await;
        town.used(3, |_| false).await;
        // The holder seals and unseals, and no status says so.
        town.writable = false;
        town.processes[HOLDER].next = town.clock.now().boot;
        town.used(4, |town| town.processes[HOLDER].is_sealed())
            .await;
        town.cloud.set_mood(0, Mood::Works);
        town.ask("unseal");
        town.used(4, |town| town.held(HOLDER).is_some()).await;
        assert!(town.held(GUEST).is_none(), "too soon");
        town.used(30, |town| town.held(GUEST).is_some()).await;
        assert_eq!(town.held(GUEST).expect("held").epoch, before + 1);
    });
}

#[test]
fn a_seal_of_which_no_status_told_is_told_by_the_next_holder() {
    runtime().block_on(async {
        let mut town = Town::serving(GUEST).await;
        town.used(11, |_| false).await; // the holder's check is due
        town.until_proved(GUEST).await;
        let before = town.held(GUEST).expect("held").epoch;
        // The holder seals between two checks of the other, and ends before it tells.
        town.writable = false;
        town.cloud.set_mood(0, Mood::Denies);
        town.processes[HOLDER].next = town.clock.now().boot;
        town.used(4, |town| town.processes[HOLDER].is_sealed())
            .await;
        town.cloud.set_mood(0, Mood::Works);
        let stale = town.held(GUEST).expect("it has not heard of it");
        assert_eq!(stale.epoch, before);
        town.processes[HOLDER].follow();
        town.processes[HOLDER].lead().await;
        town.writable = true;
        town.used(2, |_| false).await;
        town.see(GUEST, false);
        town.used(12, |town| town.held(GUEST).is_some()).await;
        assert_eq!(town.held(GUEST).expect("held").epoch, before + 1);
    });
}

#[test]
fn a_list_that_says_nothing_new_leaves_a_proof_what_it_is() {
    runtime().block_on(async {
        let mut town = Town::serving(GUEST).await;
        town.store.set_reads_fail(true); // nothing is to be asked for
        town.see(GUEST, true);
        assert!(town.held(GUEST).is_some(), "it is to be proved again");
        town.ask("verify");
        town.see(GUEST, true);
        assert!(town.held(GUEST).is_none(), "the record may say more");
    });
}
