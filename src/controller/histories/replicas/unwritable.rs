//! A record that cannot be written, on a holder whose status can.

use super::*;
use crate::session::Standing;

/// More than a status tells.
const VERSIONS: usize = 12;

impl Town {
    fn is_refused(&self, replica: usize) -> bool {
        let at_hand = serving::at_hand(&self.processes[replica].ctx, &tenant());
        matches!(at_hand, Err(Refused::Sealed(_)))
    }

    /// The oldest master key is to be erased.
    fn erase_former(&mut self) {
        let id = self.former.to_string();
        self.store.ledger().erasable.insert(id.clone());
        self.change(|object| {
            object.metadata.generation = object.metadata.generation.map(|one| one + 1);
            let keys = object.spec.master_key.get_or_insert_default();
            keys.erased_ids = vec![id];
        });
    }
}

#[test]
fn no_replica_serves_again_before_the_seal_is_on_record() {
    runtime().block_on(async {
        let mut town = Town::serving(GUEST).await;
        town.processes[HOLDER].next = town.clock.now().boot;
        let before = town.held(GUEST).expect("held").epoch;
        town.store.set_fault(Some((0, Fault::Outage)));
        town.feel(Mood::Denies).await;
        town.pass(20).await;
        town.see(GUEST, false);
        assert!(town.is_refused(GUEST), "the status does not say sealed");

        town.feel(Mood::Works).await;
        for _ in 0..60 {
            town.pass(1).await;
            town.see(GUEST, false);
            town.play(Event::Asks(GUEST)).await;
            assert!(town.is_refused(GUEST), "unsealed, and the record is not");
        }
        assert!(!town.processes[HOLDER].is_sealed(), "the key works");
        town.store.set_fault(None);
        town.pass(40).await;
        town.see(GUEST, false);
        town.until_proved(GUEST).await;
        assert!(town.held(GUEST).expect("held").epoch > before);
    });
}

#[test]
fn a_version_whose_erasing_no_status_tells_is_erased_on_every_replica() {
    runtime().block_on(async {
        let mut town = Town::new(1).await;
        for _ in 2..VERSIONS {
            town.clock.pass(HOUR);
            town.rotate().await;
        }
        town.pass(5).await;
        town.see(GUEST, false);
        town.until_proved(GUEST).await;
        let standing = |town: &Town| town.held(GUEST).expect("held").standing(&town.former);
        town.store.set_fault(Some((0, Fault::Refused)));
        town.erase_former();
        town.work().await;
        town.see(GUEST, false);
        town.tasks().await;
        assert_eq!(standing(&town), Some(Standing::Live), "it was not refused");
        let told = town.objects.len();
        town.used(130, |_| false).await;
        assert_eq!(told, town.objects.len(), "a status tells");
        assert_eq!(standing(&town), Some(Standing::Erased));
    });
}

#[test]
fn what_was_read_long_ago_is_not_relied_on_while_it_cannot_be_read_again() {
    runtime().block_on(async {
        let mut town = Town::serving(GUEST).await;
        town.store.set_reads_fail(true);
        town.used(4 * 60 + 30, |_| false).await;
        assert!(
            town.held(GUEST).is_some(),
            "nothing says that it is another one"
        );
        town.used(40, |_| false).await;
        assert!(town.held(GUEST).is_none());
        town.store.set_reads_fail(false);
        town.until_proved(GUEST).await;
    });
}
