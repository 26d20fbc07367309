//! What there is to report of a tenant.

use jiff::Timestamp;

use super::{Reported, Tenant};
use crate::api::{TenantKmsSpec, TenantKmsStatus};
use crate::clock::Moment;
use crate::controller::candidate::{Candidate, Verdict};
use crate::controller::report::{View, verify_error};
use crate::controller::risk::Secret;
use crate::provider::Failure;
use crate::seal::{Seal, State};

impl Tenant {
    /// Whether there is anything to report that is not already said. A fresh process changes
    /// nothing before its first verdict, unless the object has no status at all. A seal that is over is
    /// reported only when it is on record: where others read that it is, sessions of before live on.
    pub fn may_report(&self, observed: Option<&TenantKmsStatus>) -> bool {
        let active = self.seal.as_ref().map(Seal::state) == Some(&State::Active);
        if active && !self.suspended && !self.is_epoch_recorded() {
            return false;
        }
        let undecided = |seal: &Seal| matches!(seal.state(), State::Undecided);
        let blank = observed.is_none_or(|status| status.phase.is_none());
        let fresh = self.reported.is_none() || self.seal.as_ref().is_some_and(undecided);
        let open = self.seal.as_ref().is_some_and(undecided)
            || self
                .candidate
                .as_ref()
                .is_some_and(|one| *one.verdict() == Verdict::Open);
        blank || self.suspended || self.unusable.is_some() || !(fresh && open)
    }

    /// The status was written, or says all there is to say.
    pub fn told(&mut self, reported: Reported) {
        self.reported = Some(reported);
        if let Some(stored) = &self.stored {
            self.epochs.told(stored.record.seal_epoch);
        }
    }

    /// The status that was reported last.
    pub fn reported(&self) -> Option<&TenantKmsStatus> {
        self.reported.as_ref()?.status()
    }

    pub fn view<'a>(&'a self, wanted: &'a TenantKmsSpec, now: Moment) -> View<'a> {
        let decided = self
            .applied()
            .filter(|applied| applied.object_uid == *self.object_uid)
            .map_or(-1, |applied| applied.generation);
        let reported = self.reported().and_then(|old| old.observed_generation);
        View {
            generation: self.generation,
            decided: decided.max(reported.unwrap_or(-1)).min(self.generation),
            suspended: self.suspended,
            seal: self.seal.as_ref().map(Seal::state),
            turned: self
                .stored
                .as_ref()
                .is_some_and(|stored| self.epochs.is_untold(stored.record.seal_epoch)),
            seal_failure: self.seal.as_ref().and_then(Seal::failure),
            candidate: self.verdict(),
            refused: self.upkeep.refused(),
            unusable: self.unusable.as_ref(),
            last_failure: self.last_failure(),
            sealed_since: self.sealed_since(),
            last_verified: self.last_success.as_ref().map(|(_, at)| *at),
            identity: self
                .last_success
                .as_ref()
                .map(|(one, _)| one.identity.as_str()),
            kek_version: self
                .last_success
                .as_ref()
                .map(|(one, _)| one.kek_version.as_str()),
            external_id_of: self.external_id_of(),
            wanted: Some(wanted),
            keyring: self.keyring(),
            handled: self.handled(),
            reading: self.upkeep.reading(),
            secret: self.applied().and_then(|applied| Secret::of(&applied.spec)),
            now: now.timestamp(),
        }
    }

    /// The tenant's uid, where the spec in force or the one to be decided needs an external id. A
    /// customer needs it before anything can work.
    fn external_id_of(&self) -> Option<&str> {
        let wanted = self.candidate.as_ref().map(|candidate| &candidate.spec);
        let in_force = self.applied().map(|applied| &applied.spec);
        let mut specs = wanted.into_iter().chain(in_force);
        let record = &self.stored.as_ref()?.record;
        specs
            .any(TenantKmsSpec::has_external_id)
            .then_some(record.tenant_uid.as_str())
    }

    /// Of what the object wants and does not have.
    fn verdict(&self) -> Option<&Verdict> {
        let candidate = self.candidate.as_deref().map(Candidate::verdict);
        candidate.or(self.objection.as_ref())
    }

    /// As the record says, or before it could be written as this process knows.
    fn sealed_since(&self) -> Option<Timestamp> {
        let recorded = self.stored.as_ref()?.record.sealed.as_ref();
        match self.seal.as_ref().map(Seal::state) {
            Some(State::Active) if !self.suspended => None,
            Some(State::Sealed { since, .. }) => {
                Some(recorded.map_or_else(|| since.timestamp(), |sealed| sealed.since))
            }
            _ => recorded.map(|sealed| sealed.since),
        }
    }

    fn last_failure(&self) -> Option<(&Failure, Timestamp)> {
        if let Some((failure, at)) = &self.candidate_failure {
            return Some((failure, *at));
        }
        self.seal
            .as_ref()
            .and_then(Seal::last_failure)
            .map(|(failure, at)| (failure, at.timestamp()))
    }

    /// A status that is not decided anew, with what went wrong last.
    pub fn with_last_failure(&self, mut observed: TenantKmsStatus) -> TenantKmsStatus {
        if let Some((failure, at)) = self.last_failure() {
            let known = observed.last_verify_error.take();
            let error = verify_error(failure, at, known.as_deref());
            observed.last_verify_error = Some(Box::new(error));
        }
        observed
    }
}
