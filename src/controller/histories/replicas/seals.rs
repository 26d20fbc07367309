//! What a no ends, on the holder and on a replica that proves on demand.

use super::*;

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
