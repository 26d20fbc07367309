//! What can happen to two replicas and their tenant.

use super::super::clock::Dice;
use super::super::cloud::Mood;

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Passes(u64),
    /// Only the clocks go on: the machine slept.
    Sleeps(u64),
    Sets(i64),
    Feels(Mood),
    /// The customer's key has another version, and somebody asks to look: the master key is rotated.
    Turns,
    /// The status and the record are not written.
    Unwritable(bool),
    Unreadable(bool),
    /// A replica sees what it has not seen yet, each or only what is there now.
    Sees(usize, bool),
    Suspends(bool),
    Created,
    /// The other replica becomes the holder; whether the former one has acted on it yet.
    TakesOver(bool),
    /// A caller at a replica.
    Asks(usize),
    /// One who needs the former master key.
    Opens(usize),
}

impl Event {
    pub fn drawn(dice: &mut Dice) -> Self {
        let replica = dice.pick(&[0, 1]);
        match dice.below(22) {
            0..4 => Self::Passes(1 + dice.below(20)),
            4 => Self::Sleeps(6 + dice.below(45)),
            5 => Self::Sets(dice.pick(&[-400, -7, 7, 400])),
            6..9 => Self::Feels(dice.pick(&[Mood::Denies, Mood::Works, Mood::Hangs, Mood::Fails])),
            9 => Self::Turns,
            10 => Self::Unwritable(dice.below(2) == 0),
            11 => Self::Unreadable(dice.below(3) == 0),
            12..15 => Self::Sees(replica, dice.below(2) == 0),
            15 => Self::Suspends(dice.below(3) == 0),
            16 if dice.below(3) == 0 => Self::Created,
            16 | 17 => Self::TakesOver(dice.below(2) == 0),
            18..20 => Self::Opens(replica),
            _ => Self::Asks(replica),
        }
    }
}
