//! What must hold at any moment.

use super::*;

impl Town {
    pub(super) fn check(&mut self) {
        let now = self.clock.now();
        for replica in 0..self.processes.len() {
            let (process, shown) = (&self.processes[replica], self.shown[replica]);
            let Ok(Some(hold)) = serving::at_hand(&process.ctx, &tenant()) else {
                continue;
            };
            self.served += 1;
            assert!(process.proves(&hold), "on a proof that nobody makes again");
            let age = now.since(hold.proof);
            assert!(age < PROOF_TTL, "served on a proof of {age:?}");
            let key = hold.active().id().to_string();
            let yes = {
                let ledger = self.store.ledger();
                let bytes = ledger.bytes(&key).expect("served and never recorded");
                self.cloud.yes(bytes).expect("served and never opened")
            };
            assert!(yes.boot >= hold.proof.boot, "a proof that nobody gave");
            let unheard = self.denied.map(|at| now.boot.saturating_sub(at.boot));
            let most = INTERVAL + LATE + SECOND;
            assert!(
                unheard.is_none_or(|unheard| unheard <= most),
                "{unheard:?} after the no"
            );
            let veto = shown.veto.is_none_or(|veto| hold.proof.boot > veto.boot);
            assert!(veto, "on a proof from before a seal it has seen");
            let refused = *lock(&self.refused[replica]);
            let refused = refused.is_none_or(|refused| hold.proof.boot > refused.boot);
            assert!(refused, "on a proof from before a no it has heard");
            assert!(
                hold.epoch >= shown.written.epoch,
                "of an epoch before the one it has seen"
            );
            assert!(!process.is_sealed(), "sealed by itself");
            assert!(
                self.order(&key) >= shown.written.active,
                "with a master key from before the one it has seen"
            );
        }
    }

    /// A master key that was never heard of became active last.
    pub(super) fn order(&mut self, id: &str) -> usize {
        let known = self.actives.iter().position(|one| one == id);
        known.unwrap_or_else(|| {
            self.actives.push(id.to_owned());
            self.actives.len() - 1
        })
    }
}
