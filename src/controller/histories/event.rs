//! What can happen to a tenant, and how a history of it is drawn from a seed.

use super::clock::Dice;
use super::cloud::{Lie, Mood, Surprise};
use super::store::Fault;

#[derive(Clone, Copy, Debug)]
pub enum Damage {
    Truncated,
    WithoutKeyring,
    Newer,
    OtherTenants,
}

#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The processes run for so many seconds.
    Run(u64),
    /// Time passes and no process runs.
    Sleep(u64),
    Clock(i64),
    Verify,
    Unseal,
    /// A rotation is asked for, when the active key is old enough.
    Rotate,
    /// The customer's key gets another version.
    Turn(usize),
    /// The object names this key.
    Key(usize),
    /// The same key, with other timing.
    Timing(u64),
    /// A key that belongs to others, or none.
    BadKey(bool),
    Mood(usize, Mood),
    Lie(Lie),
    Surprise(u32, Surprise),
    Heal,
    Fault(u32, Fault),
    Reads(bool),
    Crash,
    Start,
    /// Another replica starts; whether the first one still thinks it may write.
    Second(bool),
    /// The older replica learns that it is no longer the holder.
    StepDown,
    Copy,
    Restore(u64),
    RestoreWhileDown(u64),
    Delete,
    DeleteWhileDown,
    Damage(Damage),
    /// The object; whether its end was seen.
    Recreate(bool),
    Namespace,
    EraseRetired(u64),
    EraseActive,
    Suspend(bool),
    /// Health returns, and the tenant becomes active.
    Settle,
}

impl Event {
    /// The kinds that a run must have enough of.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Sleep(_) => "sleep",
            Self::Clock(_) => "clock",
            Self::Verify => "verify",
            Self::Unseal => "unseal",
            Self::Rotate => "rotate",
            Self::Turn(_) => "turn",
            Self::Key(_) => "key",
            Self::Timing(_) => "timing",
            Self::BadKey(true) => "foreign key",
            Self::BadKey(false) => "missing key",
            Self::Mood(_, Mood::Works) => "allow",
            Self::Mood(_, Mood::Denies) => "revoke",
            Self::Mood(_, Mood::DeniesWrap) => "no wrapping",
            Self::Mood(_, Mood::Fails) => "outage",
            Self::Mood(_, Mood::Misconfigured) => "misconfigured",
            Self::Mood(_, Mood::Hangs) => "hang",
            Self::Lie(Lie::OtherBytes) => "lie: other bytes",
            Self::Lie(Lie::OtherBlob) => "lie: other blob",
            Self::Lie(Lie::Truncated) => "lie: truncated",
            Self::Lie(Lie::Wraps) => "lie: wraps another",
            Self::Lie(Lie::Version) => "lie: version",
            Self::Surprise(..) => "surprise",
            Self::Heal => "heal",
            Self::Fault(_, Fault::Refused) => "write refused",
            Self::Fault(_, Fault::Outage) => "writes refused",
            Self::Fault(_, Fault::AnswerLost) => "write unanswered",
            Self::Fault(_, Fault::CrashBefore) => "crash before a write",
            Self::Fault(_, Fault::CrashAfter) => "crash after a write",
            Self::Reads(_) => "reads",
            Self::Crash => "crash",
            Self::Start => "start",
            Self::Second(_) => "second",
            Self::StepDown => "step down",
            Self::Copy => "copy",
            Self::Restore(_) => "restore",
            Self::RestoreWhileDown(_) => "restore while down",
            Self::Delete => "delete",
            Self::DeleteWhileDown => "delete while down",
            Self::Damage(_) => "damage",
            Self::Recreate(_) => "re-create",
            Self::Namespace => "namespace",
            Self::EraseRetired(_) => "erase",
            Self::EraseActive => "erase the active",
            Self::Suspend(_) => "suspend",
            Self::Settle => "settle",
        }
    }
}

#[derive(Clone, Debug)]
pub struct History {
    pub seed: u64,
    /// Whether the key service binds what it wraps to the tenant.
    pub binds: bool,
    /// Whether master keys are rotated daily.
    pub daily: bool,
    pub events: Vec<Event>,
}

const MOODS: [Mood; 6] = [
    Mood::Works,
    Mood::Denies,
    Mood::DeniesWrap,
    Mood::Fails,
    Mood::Misconfigured,
    Mood::Hangs,
];
const LIES: [Lie; 5] = [
    Lie::OtherBytes,
    Lie::OtherBlob,
    Lie::Truncated,
    Lie::Wraps,
    Lie::Version,
];
const FAULTS: [Fault; 6] = [
    Fault::Refused,
    Fault::Outage,
    Fault::Outage,
    Fault::AnswerLost,
    Fault::CrashBefore,
    Fault::CrashAfter,
];
const DAMAGES: [Damage; 4] = [
    Damage::Truncated,
    Damage::WithoutKeyring,
    Damage::Newer,
    Damage::OtherTenants,
];

impl History {
    pub fn drawn(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (binds, daily) = (dice.below(2) == 0, dice.below(3) == 0);
        let mut events = Vec::new();
        for _ in 0..2 {
            for _ in 0..7 + dice.below(9) {
                events.push(event(&mut dice));
                if dice.below(2) == 0 {
                    events.push(Event::Run(dice.pick(&[1, 3, 10, 40, 120])));
                }
            }
            events.push(Event::Settle);
        }
        Self {
            seed,
            binds,
            daily,
            events,
        }
    }
}

fn key(dice: &mut Dice) -> usize {
    dice.pick(&[0, 0, 1])
}

fn surprise(dice: &mut Dice) -> Surprise {
    match dice.below(3) {
        0 => Surprise::Turns(key(dice)),
        1 => Surprise::Mood(key(dice), dice.pick(&MOODS)),
        _ => Surprise::Lie(dice.pick(&LIES)),
    }
}

fn event(dice: &mut Dice) -> Event {
    let calls = u32::try_from(dice.below(6)).expect("few");
    let writes = u32::try_from(dice.below(2)).expect("few");
    match dice.below(66) {
        0..4 => Event::Run(dice.pick(&[1, 5, 30, 90, 200, 400])),
        4..6 => Event::Sleep(dice.pick(&[2, 8, 20, 90, 400, 3_700, 90_000])),
        6 => Event::Clock(dice.pick(&[-4_000, -30, -4, 4, 30, 4_000])),
        7 => Event::Verify,
        8 => Event::Unseal,
        9..17 => Event::Rotate,
        17..19 => Event::Turn(key(dice)),
        19..23 => Event::Key(dice.pick(&[0, 1, 1])),
        23 => Event::Timing(dice.pick(&[60, 90, 150])),
        24 => Event::BadKey(dice.below(2) == 0),
        25..29 => Event::Mood(key(dice), dice.pick(&MOODS)),
        29..31 => Event::Lie(dice.pick(&LIES)),
        31..34 => Event::Surprise(calls, surprise(dice)),
        34..39 => Event::Heal,
        39..44 => Event::Fault(writes, dice.pick(&FAULTS)),
        44 => Event::Reads(dice.below(2) == 0),
        45 => Event::Crash,
        46..48 => Event::Start,
        48 => Event::Second(dice.below(2) == 0),
        49 => Event::StepDown,
        50..53 => Event::Copy,
        53..55 => Event::Restore(dice.below(8)),
        55 => Event::RestoreWhileDown(dice.below(8)),
        56 => match dice.below(4) {
            0 => Event::DeleteWhileDown,
            _ => Event::Delete,
        },
        57 => Event::Damage(dice.pick(&DAMAGES)),
        58 => Event::Recreate(dice.below(2) == 0),
        59 => Event::Namespace,
        60..63 => Event::EraseRetired(dice.below(8)),
        63 => Event::EraseActive,
        _ => Event::Suspend(dice.below(2) == 0),
    }
}
