//! Writes to tenants' objects: how fast. 50 a second, those that report a seal first. Nobody waits here: a writer hears when its turn is, and writes what is true then.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::clock::Moment;
use crate::lock::lock;
use crate::provider::TenantId;

const STEP: Duration = Duration::from_millis(20);
/// How many writes may follow each other at once after a quiet time.
const BURST: u32 = 25;

/// The turns that are given out, on the boot clock: at most one for each tenant.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    /// The next free turns. Seals have a row of their own; while it is not empty the other stands.
    seals: Duration,
    others: Duration,
    turns: HashMap<TenantId, Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    at: Duration,
    seal: bool,
}

impl Gate {
    /// How long `tenant` has to wait for its turn; `None` when it may write once, now.
    pub fn wait(&self, tenant: &TenantId, seal: bool, now: Moment) -> Option<Duration> {
        let mut rows = lock(&self.0);
        let known = rows.turns.get(tenant).copied();
        let mut turn = match known {
            Some(turn) if turn.seal || !seal => turn,
            _ => rows.take(seal, now),
        };
        if !turn.seal && turn.at <= now.boot && rows.seals > now.boot {
            turn = rows.take(false, now);
        }
        let wait = turn.at.saturating_sub(now.boot);
        if wait.is_zero() {
            rows.turns.remove(tenant);
            return None;
        }
        rows.turns.insert(tenant.clone(), turn);
        Some(wait)
    }

    pub fn forget(&self, tenant: &TenantId) {
        lock(&self.0).turns.remove(tenant);
    }
}

impl Rows {
    /// A turn at the end of the row.
    fn take(&mut self, seal: bool, now: Moment) -> Turn {
        let earliest = now.boot.saturating_sub(STEP * BURST);
        let seals = self.seals;
        let row = if seal {
            &mut self.seals
        } else {
            &mut self.others
        };
        let free = if seal { *row } else { seals.max(*row) };
        let at = free.max(earliest);
        *row = at + STEP;
        Turn { at, seal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        let since = Duration::from_millis(1_000_000 + millis);
        Moment {
            boot: since,
            wall: since,
        }
    }

    fn tenant(number: usize) -> TenantId {
        TenantId::new("tenants", number.to_string())
    }

    /// Asks for `many` tenants from `first` on, and gives who may write now.
    fn ask(gate: &Gate, first: usize, many: usize, seal: bool, now: Moment) -> Vec<usize> {
        (first..first + many)
            .filter(|number| gate.wait(&tenant(*number), seal, now).is_none())
            .collect()
    }

    #[test]
    fn fifty_a_second_after_a_burst_and_each_in_turn() {
        let gate = Gate::default();
        let burst = usize::try_from(BURST).expect("small") + 1;
        assert_eq!(ask(&gate, 0, 200, false, at(0)).len(), burst);
        let mut written = Vec::new();
        for millis in (1..=1_000).step_by(10) {
            written.extend(ask(&gate, burst, 200 - burst, false, at(millis)));
            if written.len() >= 49 {
                break;
            }
        }
        let order: Vec<_> = (burst..burst + written.len()).collect();
        assert_eq!(written, order, "nobody is passed over");
    }

    #[test]
    fn a_turn_that_is_waited_for_is_kept() {
        let gate = Gate::default();
        ask(&gate, 0, 26, false, at(0));
        let wait = |now| gate.wait(&tenant(99), false, now);
        assert_eq!(wait(at(0)), Some(Duration::from_millis(20)));
        assert_eq!(wait(at(15)), Some(Duration::from_millis(5)));
        assert_eq!(wait(at(20)), None);
    }

    #[test]
    fn seals_go_first_and_the_others_stand_meanwhile() {
        let gate = Gate::default();
        ask(&gate, 0, 1_000, false, at(0));
        let slow = gate.wait(&tenant(999), false, at(0)).expect("a wait");
        assert!(slow > Duration::from_secs(19), "{slow:?}");
        assert_eq!(gate.wait(&tenant(999), true, at(0)), None, "a seal came up");
        ask(&gate, 2_000, 100, true, at(0));
        let others = ask(&gate, 26, 400, false, at(1_000));
        assert!(others.is_empty(), "seals are being written");
        let last = gate.wait(&tenant(2_099), true, at(0)).expect("a wait");
        assert!(last < Duration::from_secs(2), "{last:?}");
    }
}
