//! When a tenant's keyring is to change, and what its record becomes. Pure. Only an active tenant's
//! keyring gets a new version, one write changes all of it, and erasing asks nobody.

use std::time::Duration;

use super::answers::{Basis, Rotated, Surveyed};
use super::{Reading, Tenant};
use crate::clock::Moment;
use crate::controller::candidate::Verdict;
use crate::provider::{Failure, Kind};
use crate::record::Record;
use crate::record::keyring::{Keyring, problem};

const HOURLY: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_secs(30);

/// Why a master key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A record of the previous format has none.
    First,
    /// Somebody asked.
    Asked,
    /// The active one is as old as it may become.
    Age,
    /// The customer's key has another version.
    NewKek,
}

/// A rotation under way, and the keyring it began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub why: Why,
    /// The newest request by then: whatever the rotation is for, it carries that out.
    pub asked: Option<String>,
    pub started: Moment,
    pub basis: Basis,
}

#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// When the key is to be looked at again beside the checks.
    next_survey: Option<Moment>,
    reading: Option<Reading>,
    /// The version that wrapped last.
    kek_version: Option<String>,
    /// What keeps the keyring from changing, and needs a person.
    refused: Option<Failure>,
    failures: u32,
    not_before: Option<Moment>,
    /// The newest request, as the annotation says.
    asked: Option<String>,
    age: Option<Duration>,
    erased_ids: Vec<String>,
    /// Made, opened again, and not on record yet.
    ready: Option<Box<(Rotation, Rotated)>>,
}

impl Upkeep {
    /// Another spec is in force; `reading` came with its proof.
    pub(super) fn another_spec(
        &mut self,
        reading: Option<Reading>,
        kek_version: &str,
        now: Moment,
    ) {
        self.next_survey = Some(match &reading {
            Some(_) => now.after(HOURLY),
            None => now,
        });
        self.reading = reading;
        self.kek_version = Some(kek_version.to_owned());
        self.refused = None;
        self.failures = 0;
        self.not_before = None;
    }

    pub(super) fn reading(&self) -> Option<&Reading> {
        self.reading.as_ref()
    }

    pub(super) fn refused(&self) -> Option<&Failure> {
        self.refused.as_ref()
    }

    /// What the object wants of the keyring.
    pub(super) fn observe(
        &mut self,
        asked: Option<String>,
        age: Option<Duration>,
        erased_ids: &[String],
    ) {
        if self.asked != asked {
            self.not_before = None;
        }
        self.asked = asked;
        self.age = age;
        if self.erased_ids != erased_ids {
            self.erased_ids = erased_ids.to_vec();
        }
    }

    /// A process that finds a working key looks at it closer within the hour: not all at once.
    pub(super) fn works(&mut self, now: Moment, jitter: f64) {
        self.next_survey
            .get_or_insert_with(|| now.after(HOURLY.mul_f64(jitter)));
    }

    /// Somebody wants to know now.
    pub(super) fn request_survey(&mut self, now: Moment) {
        self.next_survey = Some(now);
    }

    /// Nothing that was made before may be recorded.
    pub(super) fn drop_ready(&mut self) {
        self.ready = None;
    }
}

impl Tenant {
    pub fn keyring(&self) -> Option<&Keyring> {
        self.stored.as_ref()?.record.keyring.as_ref()
    }

    /// Whether keys may be made and changed: the customer agrees, as of now.
    fn may_change(&self, now: Moment) -> bool {
        !self.suspended && self.seal.as_ref().is_some_and(|seal| seal.may_serve(now))
    }

    /// Whether the key in force should be looked at beside the checks: after a success only.
    pub fn wants_survey(&self, now: Moment) -> bool {
        let due = |at: Moment| super::until(at, now).is_zero();
        self.may_change(now) && self.upkeep.next_survey.is_some_and(due)
    }

    /// Takes what was seen. No answer leaves what was known before.
    pub fn surveyed(&mut self, surveyed: Result<Surveyed, Failure>, now: Moment, jitter: f64) {
        self.upkeep.next_survey = Some(now.after(HOURLY.mul_f64(0.9 + 0.1 * jitter)));
        let (reading, probed) = match surveyed {
            Ok(Surveyed { reading, probed }) => (reading, probed),
            Err(failure) => (Err(failure.clone()), Err(failure)),
        };
        let silent = reading.as_ref().is_err_and(|f| f.kind == Kind::Transient);
        if !silent || self.upkeep.reading.is_none() {
            self.upkeep.reading = Some(reading);
        }
        match probed {
            Ok(probed) => {
                self.upkeep.refused = None;
                self.upkeep.kek_version = Some(probed.kek_version);
            }
            Err(failure) if failure.kind == Kind::Transient => {}
            Err(failure) => self.refuse(failure, now),
        }
    }

    /// What the key in use cannot do. The next check finds out whether that is a no.
    fn refuse(&mut self, failure: Failure, now: Moment) {
        if failure.kind == Kind::Denial
            && let Some(seal) = &mut self.seal
        {
            seal.request(now, false);
        }
        self.upkeep.refused = Some(failure);
    }

    /// The rotation that is due now.
    pub fn rotation_due(&self, now: Moment) -> Option<Rotation> {
        let (why, _) = self.rotation(now).filter(|(_, wait)| wait.is_zero())?;
        Some(Rotation {
            why,
            asked: self.upkeep.asked.clone(),
            started: now,
            basis: self.basis()?,
        })
    }

    /// How long until a rotation is due by time alone; nothing while none may be made.
    pub fn next_rotation(&self, now: Moment) -> Option<Duration> {
        self.rotation(now).map(|(_, wait)| wait)
    }

    /// The next rotation that is foreseen, and how long until it is due.
    fn rotation(&self, now: Moment) -> Option<(Why, Duration)> {
        if !self.may_change(now) || self.upkeep.ready.is_some() {
            return None;
        }
        let (why, wait) = self.reason_to_rotate(now)?;
        let held_back = self.upkeep.not_before.map(|at| super::until(at, now));
        Some((why, wait.max(held_back.unwrap_or_default())))
    }

    fn reason_to_rotate(&self, now: Moment) -> Option<(Why, Duration)> {
        let Some((keyring, active)) = self.keyring().and_then(|one| Some((one, one.active()?)))
        else {
            return Some((Why::First, Duration::ZERO));
        };
        let new_kek = |version: &String| *version != keyring.kek.version;
        if self.upkeep.kek_version.as_ref().is_some_and(new_kek) {
            return Some((Why::NewKek, Duration::ZERO));
        }
        let age = now.timestamp().duration_since(active.created);
        let left =
            |most: Duration| most.saturating_sub(Duration::try_from(age).unwrap_or_default());
        let done = self.handled().rotate_requested_at.as_ref();
        let asked = self.upkeep.asked.as_ref().filter(|one| Some(*one) != done);
        let asked = asked.map(|_| (Why::Asked, left(HOURLY)));
        let aged = self.upkeep.age.map(|most| (Why::Age, left(most)));
        asked.into_iter().chain(aged).min_by_key(|(_, wait)| *wait)
    }

    /// Takes what a rotation made. It counts when it is on record.
    pub fn rotated(
        &mut self,
        rotation: Rotation,
        answer: Result<Rotated, Failure>,
        now: Moment,
        jitter: f64,
    ) {
        match answer {
            Ok(rotated) => {
                self.upkeep.refused = None;
                self.upkeep.kek_version = Some(rotated.kek.version.clone());
                self.upkeep.ready = Some(Box::new((rotation, rotated)));
            }
            Err(failure) => self.postpone(failure, now, jitter),
        }
    }

    fn postpone(&mut self, failure: Failure, now: Moment, jitter: f64) {
        self.upkeep.failures = self.upkeep.failures.saturating_add(1);
        let pause = SOON * (1 << (self.upkeep.failures - 1).min(7));
        let pause = pause.min(HOURLY).mul_f64(0.9 + 0.1 * jitter);
        self.upkeep.not_before = Some(now.after(pause));
        if failure.kind != Kind::Transient {
            self.refuse(failure, now);
        }
    }

    /// The customer may have said no: what was made is not recorded, and what was seen of the key
    /// is looked at again once it works.
    pub fn drop_made(&mut self, now: Moment) {
        self.upkeep.drop_ready();
        self.upkeep.refused = None;
        self.upkeep.request_survey(now);
    }

    /// How long until a version is to be erased: zero when that was to be done by now.
    pub fn next_erasure(&self, now: Moment) -> Option<Duration> {
        let erasure = self
            .keyring()?
            .erase(&self.upkeep.erased_ids, now.timestamp());
        match erasure.changed {
            Some(_) => Some(Duration::ZERO),
            None => Duration::try_from(erasure.wait?).ok(),
        }
    }

    /// The record with what was made, if it still fits, and without what is to be erased.
    pub(super) fn keep(&mut self, wanted: Record, now: Moment, jitter: f64) -> Record {
        let wanted = self.with_rotation(wanted, now, jitter);
        let Some(keyring) = &wanted.keyring else {
            return wanted;
        };
        let erasure = keyring.erase(&self.upkeep.erased_ids, now.timestamp());
        let refused = |id| Verdict::Refused(problem::erase_active(&id));
        self.objection = erasure.active.map(refused);
        match erasure.changed {
            Some(keyring) => wanted.with_keyring(keyring),
            None => wanted,
        }
    }

    fn with_rotation(&mut self, wanted: Record, now: Moment, jitter: f64) -> Record {
        let before = wanted.keyring.as_ref();
        let fits = self
            .upkeep
            .ready
            .as_ref()
            .is_some_and(|ready| Some(&ready.0.basis) == self.basis().as_ref());
        if !fits || !self.may_change(now) {
            self.upkeep.ready = None;
        }
        let Some((rotation, rotated)) = self.upkeep.ready.as_deref() else {
            return wanted;
        };
        let (minted, at) = (rotated.minted.clone(), now.timestamp());
        let keyring = match before.filter(|keyring| keyring.active().is_some()) {
            Some(keyring) => keyring.rotate(rotated.rewrapped.as_ref(), minted, at),
            None => Ok(Keyring::begin(before, rotated.kek.clone(), minted, at)),
        };
        if let Ok(keyring) = keyring {
            let mut wanted = wanted.with_keyring(keyring);
            if rotation.asked.is_some() {
                wanted
                    .handled
                    .rotate_requested_at
                    .clone_from(&rotation.asked);
            }
            return wanted;
        }
        // No room for another version; a new version of the customer's key needs none.
        let rewrapped = before.zip(rotated.rewrapped.as_ref());
        let rewrapped = rewrapped.and_then(|(keyring, new)| keyring.rewrap(new));
        self.upkeep.ready = None;
        self.postpone(problem::full(), now, jitter);
        match rewrapped {
            Some(keyring) => wanted.with_keyring(keyring),
            None => wanted,
        }
    }

    /// The wanted record is stored: gives the key that is active now, if it was made for it.
    pub(super) fn kept(&mut self) -> Option<(Rotation, Rotated)> {
        let active = self.keyring().and_then(Keyring::active)?.id.clone();
        let made = |ready: &mut Box<(Rotation, Rotated)>| ready.1.minted.id == active;
        let ready = self.upkeep.ready.take_if(made)?;
        self.upkeep.failures = 0;
        self.upkeep.not_before = None;
        if let Some((success, _)) = &mut self.last_success {
            success.kek_version.clone_from(&ready.1.kek.version);
        }
        Some(*ready)
    }
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
