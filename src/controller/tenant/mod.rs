//! What this process knows of one tenant, and what follows from it. Pure: answers, the spec and
//! the time go in; attempts to make, records and reports to write come out.

pub mod answers;
mod epochs;
mod recorded;
mod reported;
mod taken;
mod upkeep;
mod view;

use std::sync::Arc;

use jiff::Timestamp;

use self::epochs::Epochs;
use self::upkeep::Upkeep;
use super::candidate::{Candidate, Verdict};
use super::object::Object;
use super::requests::{self, Asked};
use crate::api::{HandledRequests, TenantKmsSpec};
use crate::clock::Moment;
use crate::provider::{Failure, TenantId};
use crate::record::store::Version;
use crate::record::{Applied, Record};
use crate::seal::{self, Seal, State, Transition};

pub use self::answers::{
    Basis, Change, Checked, Proved, Reading, Rotated, Success, Surveyed, Tried,
};
pub use self::reported::Reported;
pub use self::upkeep::{Rotation, Why};

/// A record as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub record: Record,
    pub version: Version,
}

#[derive(Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub object_uid: Arc<str>,
    pub stored: Option<Stored>,
    /// Something else may be stored by now; until it is read, `stored` is what is known.
    pub stale: bool,
    /// This process opened the active master key from what `stored` has.
    opened: bool,
    pub unusable: Option<Failure>,
    seal: Option<Seal>,
    epochs: Epochs,
    // Boxed where most tenants have none most of the time: there are many tenants.
    candidate: Option<Box<Candidate>>,
    pub proved: Option<Box<Proved>>,
    suspended: bool,
    asked: Asked,
    generation: i64,
    last_success: Option<(Success, Timestamp)>,
    candidate_failure: Option<(Failure, Timestamp)>,
    upkeep: Upkeep,
    /// What the object asks for and does not get, beside its key.
    objection: Option<Verdict>,
    reported: Option<Reported>,
}

impl Tenant {
    pub fn new(id: TenantId, object_uid: Arc<str>) -> Self {
        Self {
            id,
            object_uid,
            stored: None,
            stale: false,
            opened: false,
            unusable: None,
            seal: None,
            epochs: Epochs::default(),
            candidate: None,
            proved: None,
            suspended: false,
            asked: Asked::default(),
            generation: -1,
            last_success: None,
            candidate_failure: None,
            upkeep: Upkeep::default(),
            objection: None,
            reported: None,
        }
    }

    pub fn applied(&self) -> Option<&Applied> {
        self.stored.as_ref()?.record.applied.as_ref()
    }

    pub fn seal_mut(&mut self) -> Option<&mut Seal> {
        self.seal.as_mut()
    }

    pub fn candidate(&self) -> Option<&Candidate> {
        self.candidate.as_deref()
    }

    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    pub fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Looks at the object as it is now: a new spec, suspension, requests.
    pub fn observe(&mut self, object: &Object, now: Moment) {
        self.generation = object.meta.generation;
        let spec = if self.begins() {
            object.spec.beginning()
        } else {
            object.spec.verifiable()
        };
        self.observe_suspension(object.spec.is_suspended(), now);
        self.upkeep.observe(
            requests::rotation(&object.meta),
            object.spec.rotation_interval(),
            object.spec.erased_ids(),
        );
        if self.stored.is_none() {
            return;
        }
        let in_force = |applied: &Applied| applied.spec.verifiable() == spec.verifiable();
        let in_force = self.applied().is_some_and(in_force);
        if in_force {
            self.candidate = None;
            self.candidate_failure = None;
            self.proved = None;
        } else if self
            .candidate
            .as_ref()
            .is_none_or(|known| known.spec != spec)
        {
            self.candidate = Some(Box::new(Candidate::new(spec, self.generation, now)));
            self.candidate_failure = None;
            self.proved = None;
        } else if let Some(known) = &mut self.candidate {
            known.generation = self.generation;
        }
        let handled = self.handled().clone();
        if self.asked.observe(&object.meta, &handled, now) && !self.suspended {
            let unseal = self.asked.unseal_pending();
            if !unseal {
                self.upkeep.request_survey(now);
            }
            if let Some(seal) = &mut self.seal {
                seal.request(now, unseal);
            }
            if let Some(candidate) = &mut self.candidate {
                candidate.request(now);
            }
        }
    }

    /// Whether there is no keyring yet: the only time that one is taken over from elsewhere.
    fn begins(&self) -> bool {
        self.stored
            .as_ref()
            .is_none_or(|stored| stored.record.keyring.is_none())
    }

    fn observe_suspension(&mut self, suspended: bool, now: Moment) {
        if suspended && !self.suspended {
            self.end_sessions();
            self.proved = None;
            self.upkeep.drop_ready();
            if let Some(seal) = &mut self.seal {
                seal.void();
            }
        }
        if !suspended && self.suspended {
            // Resuming needs a proof: begin like a process without one.
            if let (Some(applied), true) = (self.applied(), self.seal.is_some()) {
                let timing = timing(&applied.spec);
                self.replace_seal(Some(Seal::new(timing, now)));
            }
            if let Some(candidate) = &mut self.candidate {
                candidate.request(now);
            }
        }
        self.suspended = suspended;
    }

    /// Takes the answer to an attempt on the spec in force.
    pub fn checked(
        &mut self,
        attempt: seal::Attempt,
        answer: Result<Success, Failure>,
        now: Moment,
        jitter: f64,
    ) -> Option<Transition> {
        self.asked.carried_out(attempt.started);
        let seal = self.seal.as_mut()?;
        let result = match answer {
            Ok(success) => {
                self.last_success = Some((success, attempt.started.timestamp()));
                self.upkeep.works(now, jitter);
                Ok(())
            }
            Err(failure) => Err(failure),
        };
        let transition = seal.finish(attempt, result, now, jitter);
        if self.asked.is_waiting() {
            // Asked for while this attempt was under way: the answer may be older than the wish.
            seal.request(now, self.asked.unseal_pending());
        }
        self.count_seals();
        transition
    }

    /// Takes the answer to an attempt on the candidate for `generation`.
    pub fn tried(
        &mut self,
        spec: &TenantKmsSpec,
        started: Moment,
        answer: Result<Tried, Failure>,
        now: Moment,
        jitter: f64,
    ) {
        self.asked.carried_out(started);
        let Some(candidate) = self.candidate.as_mut().filter(|known| known.spec == *spec) else {
            return; // the spec has changed since
        };
        match answer {
            Ok(tried) => {
                self.proved = Some(Box::new(Proved {
                    spec: candidate.spec.clone(),
                    generation: candidate.generation,
                    started,
                    tried,
                }));
            }
            Err(failure) => {
                self.candidate_failure = Some((failure.clone(), now.timestamp()));
                candidate.failed(failure, now, jitter);
            }
        }
    }

    /// The proof of a candidate is too old to put it in force.
    pub fn prove_again(&mut self, now: Moment) {
        self.proved = None;
        if let Some(candidate) = &mut self.candidate {
            candidate.request(now);
        }
    }

    /// A proved candidate could not be put in force.
    pub fn refuse_proved(&mut self, failure: Failure, now: Moment, jitter: f64) {
        self.proved = None;
        if let Some(candidate) = &mut self.candidate {
            self.candidate_failure = Some((failure.clone(), now.timestamp()));
            candidate.failed(failure, now, jitter);
        }
    }

    /// The proved candidate is on record: it is in force from now on.
    pub fn adopt(&mut self, proved: &Proved, stored: Stored, now: Moment) -> Option<Transition> {
        let timing = timing(&proved.spec);
        let seal = self.seal.get_or_insert_with(|| Seal::new(timing, now));
        seal.set_timing(timing);
        let mut transition = seal.adopt_proof(proved.started, now);
        if *seal.state() == State::Active
            && !seal.is_doubted()
            && seal.proof() != Some(proved.started)
        {
            // Its proof is one of the old spec, and says nothing about the new one.
            self.replace_seal(Some(Seal::new(timing, now)));
            let fresh = self.seal.as_mut();
            transition = fresh.and_then(|seal| seal.adopt_proof(proved.started, now));
        }
        self.count_seals();
        let tried = &proved.tried;
        self.upkeep
            .another_spec(tried.reading.clone(), &tried.success.kek_version, now);
        self.last_success = Some((tried.success.clone(), proved.started.timestamp()));
        self.store(stored);
        self.candidate = None;
        self.candidate_failure = None;
        self.proved = None;
        transition
    }

    fn replace_seal(&mut self, seal: Option<Seal>) {
        self.seal = seal;
        self.epochs.another_seal();
    }

    fn count_seals(&mut self) {
        if let Some(seal) = &self.seal {
            let stored = self.stored.as_ref();
            let sealed_before = stored.is_some_and(|stored| stored.record.sealed.is_some());
            self.epochs.count(seal, sealed_before);
        }
    }

    /// What time alone has changed.
    pub fn tick(&mut self, now: Moment, jitter: f64) -> Option<Transition> {
        if self.suspended {
            return None;
        }
        let transition = self.seal.as_mut()?.tick(now, jitter);
        self.count_seals();
        transition
    }

    fn handled(&self) -> &HandledRequests {
        static NONE: HandledRequests = HandledRequests {
            verify_requested_at: None,
            unseal_requested_at: None,
            rotate_requested_at: None,
        };
        self.stored
            .as_ref()
            .map_or(&NONE, |stored| &stored.record.handled)
    }

    /// When a request that waits for its turn may be begun.
    pub fn next_request(&self, now: Moment) -> Option<std::time::Duration> {
        self.asked.next(now)
    }

    /// The policy changed: a refused spec may be allowed now.
    pub fn reconsider(&mut self, now: Moment) {
        if let Some(candidate) = &mut self.candidate {
            candidate.request(now);
        }
    }
}

/// The time from `now` to `then`, zero when it has passed.
pub fn until(then: Moment, now: Moment) -> std::time::Duration {
    then.boot.saturating_sub(now.boot)
}

fn timing(spec: &TenantKmsSpec) -> seal::Timing {
    spec.timing()
}
