//! What a tenant's record should say. Pure: whoever writes it does so in one write on the version that
//! was read, so that a crash leaves the old record or the new one and nothing between.

use super::answers::{Basis, Change, Proved, Rotated};
use super::{Rotation, Stored, Tenant};
use crate::api::{Reason, TenantKmsSpec};
use crate::clock::Moment;
use crate::controller::work::{Active, Bound};
use crate::record::keyring::Keyring;
use crate::record::{Applied, Record, SealedSince};
use crate::seal::{Seal, State};

impl Tenant {
    /// The record as it should be; equal to the stored one when nothing is to be written.
    pub fn wanted_record(&mut self, now: Moment, jitter: f64) -> Option<Record> {
        let stored = &self.stored.as_ref()?.record;
        let mut wanted = stored.clone();
        wanted.handled = self.asked.handled(&stored.handled);
        wanted.seal_epoch = self.epochs.next(stored.seal_epoch);
        match self.seal.as_ref().map(Seal::state) {
            Some(State::Sealed { since, .. }) if stored.sealed.is_none() => {
                wanted.sealed = Some(SealedSince {
                    since: since.timestamp().min(now.timestamp()),
                    reason: self
                        .seal
                        .as_ref()
                        .and_then(Seal::failure)
                        .map_or_else(String::new, |failure| failure.reason.name().to_owned()),
                });
            }
            Some(State::Active) if !self.suspended => {
                wanted.sealed = None;
                self.own(&mut wanted);
            }
            _ => {}
        }
        Some(self.keep(wanted, now, jitter))
    }

    /// An object that was created anew with the spec in force, and whose key works, is the one that
    /// this spec was verified for: from now on a change of it moves the keys.
    fn own(&self, wanted: &mut Record) {
        if let Some(applied) = &mut wanted.applied
            && self.candidate.is_none()
            && applied.object_uid != *self.object_uid
        {
            applied.object_uid = self.object_uid.to_string();
            applied.generation = self.generation;
        }
    }

    /// Whether every seal is on record: before that nothing is given out, or a session of before the
    /// seal could live on after a crash.
    pub fn is_epoch_recorded(&self) -> bool {
        let recorded = self.stored.as_ref().map(|one| one.record.seal_epoch);
        recorded.is_some_and(|epoch| self.epochs.next(epoch) == epoch)
    }

    /// The spec in force.
    pub fn in_force(&self) -> Option<TenantKmsSpec> {
        self.applied().map(|applied| applied.spec.clone())
    }

    /// The same, if it was verified for this object: only that moves its keys.
    pub fn movable(&self) -> Option<TenantKmsSpec> {
        let applied = self.applied()?;
        (applied.object_uid == *self.object_uid).then(|| applied.spec.clone())
    }

    /// The active master key as a check needs it.
    pub fn active(&self) -> Option<Active> {
        Some(Active::of(&self.stored.as_ref()?.record))
    }

    /// All of its keys.
    pub fn bound(&self) -> Option<Bound> {
        let record = &self.stored.as_ref()?.record;
        Some(Bound {
            basis: Basis::of(record),
            keyring: record.keyring.clone(),
        })
    }

    /// What a change made now is made for.
    pub fn basis(&self) -> Option<Basis> {
        Some(Basis::of(&self.stored.as_ref()?.record))
    }

    /// The wanted record is stored. Gives a key that was made for it and is active now.
    pub fn recorded(&mut self, stored: Stored, now: Moment) -> Option<(Rotation, Rotated)> {
        self.epochs.recorded();
        self.take_record(stored, now);
        self.kept()
    }

    /// The record that puts a proved spec in force; none when its keyring is not the one that the
    /// proof was made with.
    pub fn record_of(&self, proved: &Proved, now: Moment) -> Option<Record> {
        let stored = &self.stored.as_ref()?.record;
        if self.basis().as_ref() != Some(&proved.tried.basis) {
            return None;
        }
        let mut record = stored.clone();
        record.claim.clone_from(&proved.tried.claim);
        record.applied = Some(Applied {
            spec: proved.spec.verifiable(),
            object_uid: self.object_uid.to_string(),
            generation: proved.generation,
        });
        let before = stored.keyring.as_ref();
        let keyring = match &proved.tried.change {
            Change::None => None,
            Change::Begin { kek, minted } => {
                let (kek, minted) = (kek.clone(), minted.clone());
                Some(Keyring::begin(before, kek, minted, now.timestamp()))
            }
            Change::Rewrap(rewrapped) => Some(before?.rewrap(rewrapped)?),
        };
        Some(match keyring {
            Some(keyring) => record.with_keyring(keyring),
            None => record,
        })
    }

    /// What this process knows and a record that was read does not: an older copy was put in its
    /// place, or it is gone. Master keys of a running tenant are not lost by that.
    pub fn outlives(&self, read: Option<&Record>, namespace_uid: &str) -> Option<Record> {
        let known = &self.stored.as_ref()?.record;
        // A backup that is to mend what does not open is taken, however old; not when it did open
        // here, as a key service that lies is no reason to lose what is known.
        let failure = self.seal.as_ref().and_then(Seal::last_failure);
        let corrupt = failure.is_some_and(|(one, _)| one.reason == Reason::KeyringCorrupt);
        let corrupt = corrupt && !self.opened;
        let newer = match read {
            Some(read) => {
                !corrupt
                    && read.tenant_uid == known.tenant_uid
                    && read.revision() < known.revision()
            }
            None => known.namespace_uid == namespace_uid && known.keyring.is_some(),
        };
        newer.then(|| Record {
            seal_epoch: read.map_or(0, |read| read.seal_epoch).max(known.seal_epoch),
            ..known.clone()
        })
    }
}
