//! A record that cannot be written, on a holder whose status can.

use super::*;

impl Town {
    fn is_refused(&self, replica: usize) -> bool {
        let at_hand = serving::at_hand(&self.processes[replica].ctx, &tenant());
        matches!(at_hand, Err(Refused::Sealed(_)))
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
