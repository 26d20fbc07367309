//! How many seals the record's seal epoch does not count yet. Every seal raises the epoch, also one
//! that was over before it could be written: tokens carry the epoch, and none may revive.

use crate::seal::{Seal, State};

#[derive(Debug, Default)]
pub struct Epochs {
    due: u64,
    /// Ever seen on record.
    highest: u64,
    /// Of the present `Seal`.
    counted: u64,
    decided: bool,
    succeeded: bool,
    /// What the record said when the status was reported last.
    told: Option<u64>,
    /// A seal that was found on record was over, and nobody knows whether a status has told of it.
    found_over: bool,
}

impl Epochs {
    /// What the record's epoch should be: never less than it was, whatever was restored.
    pub fn next(&self, recorded: u64) -> u64 {
        recorded.max(self.highest) + self.due
    }

    /// A record says so.
    pub fn seen(&mut self, recorded: u64) {
        self.highest = self.highest.max(recorded);
    }

    /// The object is another than the record was written for: true when that is new.
    pub fn succeeds(&mut self) -> bool {
        !std::mem::replace(&mut self.succeeded, true)
    }

    /// Sessions of before are to end, though the customer said nothing.
    pub fn end_sessions(&mut self) {
        self.due += 1;
    }

    pub fn recorded(&mut self) {
        self.due = 0;
    }

    /// The status was reported when the record said so.
    pub fn told(&mut self, recorded: u64) {
        self.told = Some(recorded);
    }

    /// Whether the tenant was sealed and maybe no status has said so: it was over too soon, or who sealed
    /// it is gone. The other replicas look at the record when the status changes.
    pub fn is_untold(&self, recorded: u64) -> bool {
        self.told.map_or(self.found_over, |told| told != recorded)
    }

    /// Counting begins anew, as a `Seal` does; what is due stays due.
    pub fn another_seal(&mut self) {
        self.counted = 0;
        self.decided = false;
    }

    /// Counts the seals since the last call. A fresh `Seal` that finds the tenant still sealed, as
    /// the record says, has not sealed it again.
    pub fn count(&mut self, seal: &Seal, sealed_before: bool) {
        let first = !self.decided && !matches!(seal.state(), State::Undecided);
        self.decided |= first;
        let mut new = seal.seals().saturating_sub(self.counted);
        self.counted = seal.seals();
        if first && sealed_before {
            new = new.saturating_sub(1);
            self.found_over |= *seal.state() == State::Active;
        }
        self.due += new;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::{Reason, Timing};
    use crate::clock::Moment;
    use crate::provider::Failure;

    fn at(seconds: u64) -> Moment {
        Moment {
            boot: Duration::from_secs(seconds),
            wall: Duration::from_secs(1_000_000 + seconds),
        }
    }

    /// A seal that has said no twice by `seconds` + 3.
    fn sealed(seal: &mut Seal, seconds: u64) {
        for second in [seconds, seconds + 2] {
            seal.tick(at(second), 0.0);
            seal.request(at(second), false);
            let attempt = seal.begin(at(second));
            let no = Failure::denial(Reason::AccessDenied, "no");
            seal.finish(attempt, Err(no), at(second), 0.0);
        }
        assert!(matches!(seal.state(), State::Sealed { .. }));
    }

    fn fresh() -> Seal {
        let timing = Timing {
            interval: Duration::from_secs(30),
            proof_ttl: Duration::from_mins(5),
        };
        Seal::new(timing, at(1))
    }

    #[test]
    fn each_seal_counts_once_whoever_wrote_it() {
        let (mut epochs, mut seal) = (Epochs::default(), fresh());
        sealed(&mut seal, 1);
        epochs.count(&seal, false);
        epochs.count(&seal, false);
        assert_eq!(epochs.next(0), 1);
        epochs.recorded();
        epochs.count(&seal, true);
        assert_eq!(epochs.next(0), 0);
    }

    #[test]
    fn a_fresh_process_that_finds_a_seal_has_not_made_it() {
        let (mut epochs, mut seal) = (Epochs::default(), fresh());
        sealed(&mut seal, 1);
        epochs.count(&seal, true);
        assert_eq!(epochs.next(0), 0);
    }

    #[test]
    fn what_no_status_has_said_is_told_once() {
        let mut epochs = Epochs::default();
        assert!(!epochs.is_untold(4), "nobody knows what was told before");
        epochs.told(4);
        assert!(!epochs.is_untold(4));
        assert!(epochs.is_untold(5));
        epochs.told(5);
        assert!(!epochs.is_untold(5));
    }

    #[test]
    fn a_seal_that_is_found_and_is_over_is_told_once() {
        let (mut epochs, mut seal) = (Epochs::default(), fresh());
        epochs.count(&seal, true);
        assert!(!epochs.is_untold(4), "it may go on");
        let attempt = seal.begin(at(2));
        seal.finish(attempt, Ok(()), at(2), 0.0);
        epochs.count(&seal, true);
        assert!(epochs.is_untold(4));
        epochs.told(4);
        assert!(!epochs.is_untold(4));

        let (mut epochs, mut seal) = (Epochs::default(), fresh());
        sealed(&mut seal, 2);
        epochs.count(&seal, true);
        assert!(!epochs.is_untold(4), "it goes on, as the status says now");
    }

    #[test]
    fn an_old_record_that_was_restored_does_not_bring_an_old_epoch_back() {
        let mut epochs = Epochs::default();
        epochs.seen(7);
        epochs.seen(3);
        assert_eq!(epochs.next(3), 7);
    }

    #[test]
    fn what_was_not_written_stays_due_when_counting_begins_anew() {
        let (mut epochs, mut seal) = (Epochs::default(), fresh());
        sealed(&mut seal, 1);
        epochs.count(&seal, false);
        epochs.another_seal();
        epochs.count(&fresh(), false);
        assert_eq!(epochs.next(0), 1);
    }
}
