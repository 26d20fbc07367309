//! What a record changes that was read or written. Pure.

use super::{Stored, Tenant, timing};
use crate::clock::Moment;
use crate::provider::Failure;
use crate::record::keyring::wrapping::Opened;
use crate::seal::Seal;

impl Tenant {
    /// Takes the record that was read or written. The applied spec gets a seal without a verdict.
    pub fn take_record(&mut self, stored: Stored, now: Moment) {
        self.unusable = None;
        self.stale = false;
        let spec = |stored: &Stored| stored.record.applied.as_ref().map(|one| one.spec.clone());
        let applied = spec(&stored);
        if applied != self.stored.as_ref().and_then(spec) {
            self.replace_seal(applied.map(|spec| Seal::new(timing(&spec), now)));
        }
        self.epochs.seen(stored.record.seal_epoch);
        self.store(stored);
        let earlier = self.applied().map(|applied| applied.object_uid.as_str());
        if earlier.is_some_and(|uid| uid != &*self.object_uid) && self.epochs.succeeds() {
            self.end_sessions();
        }
    }

    /// Who was let in before an emergency stop, or by an object that was deleted, is let in anew. A
    /// tenant that is sealed has no sessions.
    pub(super) fn end_sessions(&mut self) {
        let sealed = |stored: &Stored| stored.record.sealed.is_some();
        if !self.stored.as_ref().is_some_and(sealed) {
            self.epochs.end_sessions();
        }
    }

    pub(super) fn store(&mut self, stored: Stored) {
        let before = self.active().filter(|_| self.opened);
        self.stored = Some(stored);
        self.opened = before.is_some() && before == self.active();
    }

    /// A master key was opened: what is known here is right, if it is its active one.
    pub fn opens(&mut self, opened: &Opened) {
        let fits = |keyring| opened.is_active_of(keyring);
        self.opened |= self.keyring().is_some_and(fits);
    }

    /// The stored record cannot be used: nothing is known and nothing is tried.
    pub fn refuse_record(&mut self, failure: Failure) {
        self.unusable = Some(failure);
        self.stale = false;
        self.stored = None;
        self.opened = false;
        self.replace_seal(None);
        self.candidate = None;
        self.proved = None;
        self.upkeep.drop_ready();
    }

    /// Whether the record is to be read before anything is written.
    pub fn needs_record(&self) -> bool {
        self.stored.is_none() || self.stale
    }
}
