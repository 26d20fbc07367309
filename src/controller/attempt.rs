//! Attempts under way: at most one on the spec in force and one on a candidate for each tenant.
//! An attempt never writes; its answer waits until the tenant is reconciled again.

use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::context::Context;
use super::tenant::{Reading, Success};
use crate::api::{Reason, TenantKmsSpec};
use crate::clock::Moment;
use crate::provider::{Attributes, Failure, Kms, TenantId, probe};
use crate::seal;

/// How long a candidate's attempt may take.
const TRIAL_DEADLINE: Duration = Duration::from_secs(15);
/// How long a new spec, proved, waits for its key's attributes.
const BRIEFLY: Duration = Duration::from_secs(2);
/// How long a reading of attributes may take that nobody waits for.
const READING_DEADLINE: Duration = Duration::from_secs(15);

/// A try of a spec that is not in force.
#[derive(Clone, Debug)]
pub struct Trial {
    pub spec: TenantKmsSpec,
    pub started: Moment,
}

#[derive(Debug, Default)]
pub struct OpenAttempts {
    pub check: Slot<seal::Attempt>,
    pub trial: Slot<Trial>,
    /// Of the key in force: what its service says of it.
    pub reading: Slot<(), Option<Attributes>>,
}

impl OpenAttempts {
    /// Ends what is under way; nobody hears an answer.
    pub fn abandon(&mut self) {
        *self = Self::default();
    }
}

/// Room for one open attempt.
#[derive(Debug)]
pub struct Slot<T, S = Success>(Option<Open<T, S>>);

#[derive(Debug)]
struct Open<T, S> {
    what: T,
    answer: oneshot::Receiver<Result<S, Failure>>,
    task: JoinHandle<()>,
}

impl<T, S> Drop for Open<T, S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T, S> Default for Slot<T, S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone, S> Slot<T, S> {
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// The attempt under way, if any.
    pub fn what(&self) -> Option<&T> {
        self.0.as_ref().map(|open| &open.what)
    }

    pub fn abandon(&mut self) {
        self.0 = None;
    }

    /// Takes the answer when there is one.
    pub fn answered(&mut self) -> Option<(T, Result<S, Failure>)> {
        let open = self.0.as_mut()?;
        let answer = match open.answer.try_recv() {
            Ok(answer) => answer,
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => Err(broken()),
        };
        let what = open.what.clone();
        self.0 = None;
        Some((what, answer))
    }
}

fn broken() -> Failure {
    Failure::transient(
        Reason::ProviderError,
        "The attempt ended without an answer; this is a defect of the operator. It is tried again.",
    )
}

fn late(deadline: Duration) -> Failure {
    Failure::transient(
        Reason::Unreachable,
        format!(
            "No answer within {} s. Check the network, the proxy and the service's own status \
             page; it is tried again by itself.",
            deadline.as_secs()
        ),
    )
}

/// What every attempt of a tenant needs.
#[derive(Debug)]
pub struct Launch<'a> {
    pub ctx: &'a Arc<Context>,
    pub id: &'a TenantId,
    pub wake: ObjectRef<super::Guarded>,
}

impl Launch<'_> {
    /// The right to make one more attempt; `None` when too many are under way.
    pub fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.ctx.attempts.clone().try_acquire_owned().ok()
    }

    /// Proves the spec in force.
    pub fn check(
        self,
        slot: &mut Slot<seal::Attempt>,
        permit: OwnedSemaphorePermit,
        spec: TenantKmsSpec,
        attempt: seal::Attempt,
    ) {
        let fresh = attempt.fresh_token;
        self.launch(slot, permit, spec, attempt, attempt.deadline, fresh, false);
    }

    /// Tries a candidate.
    pub fn trial(self, slot: &mut Slot<Trial>, permit: OwnedSemaphorePermit, trial: Trial) {
        let spec = trial.spec.clone();
        self.launch(slot, permit, spec, trial, TRIAL_DEADLINE, true, true);
    }

    /// Reads what the service says of the key in force, beside the checks and never for them.
    pub fn read(
        self,
        slot: &mut Slot<(), Option<Attributes>>,
        permit: OwnedSemaphorePermit,
        spec: TenantKmsSpec,
    ) {
        let (answered, answer) = oneshot::channel();
        let (ctx, id, wake) = (self.ctx.clone(), self.id.clone(), self.wake);
        let task = tokio::spawn(async move {
            let _permit = permit;
            let read = async {
                let kms = ctx.providers.connect(&id, &spec, false).await?;
                kms.attributes().await
            };
            let reading: Reading = timeout(READING_DEADLINE, read)
                .await
                .unwrap_or_else(|_| Err(late(READING_DEADLINE)));
            if answered.send(reading).is_ok() {
                let _ = ctx.wake.clone().send(wake).await; // closed only at shutdown
            }
        });
        *slot = Slot(Some(Open {
            what: (),
            answer,
            task,
        }));
    }

    #[allow(clippy::too_many_arguments)] // one private call that both kinds share
    fn launch<T>(
        self,
        slot: &mut Slot<T>,
        permit: OwnedSemaphorePermit,
        spec: TenantKmsSpec,
        what: T,
        deadline: Duration,
        fresh: bool,
        claims: bool,
    ) {
        let (answered, answer) = oneshot::channel();
        let (ctx, id, wake) = (self.ctx.clone(), self.id.clone(), self.wake);
        let task = tokio::spawn(async move {
            let _permit = permit;
            let timer = ctx.metrics.attempt_started(spec.provider);
            let proved = timeout(deadline, prove(&ctx, &id, &spec, fresh, claims))
                .await
                .unwrap_or_else(|_| Err(late(deadline)));
            let (mut result, kms) = match proved {
                Ok((success, kms)) => (Ok(success), Some(kms)),
                Err(failure) => (Err(failure), None),
            };
            timer.ended(&result);
            // Nobody's proof grows old meanwhile: the spec is not in force yet.
            if let (true, Ok(success), Some(kms)) = (claims, &mut result, kms) {
                success.reading = timeout(BRIEFLY, kms.attributes()).await.ok();
            }
            // The receiver is gone when the attempt was abandoned meanwhile.
            if answered.send(result).is_ok() {
                let _ = ctx.wake.clone().send(wake).await; // closed only at shutdown
            }
        });
        *slot = Slot(Some(Open { what, answer, task }));
    }
}

async fn prove(
    ctx: &Context,
    id: &TenantId,
    spec: &TenantKmsSpec,
    fresh: bool,
    claims: bool,
) -> Result<(Success, Arc<dyn Kms>), Failure> {
    let kms = ctx.providers.connect(id, spec, fresh).await?;
    if claims {
        let checked = ctx.check_claim(id, kms.key_id()).await;
        checked.map_err(|_| conflict(&ctx.records_namespace, kms.key_id()))?;
    }
    let proved = probe::probe(kms.as_ref()).await?;
    let success = Success {
        key_id: kms.key_id().to_owned(),
        kek_version: proved.kek_version,
        identity: kms.identity().to_owned(),
        reading: None,
    };
    Ok((success, kms))
}

/// The key is another namespace's. Its name is not told: it may be another customer's.
pub fn conflict(records_namespace: &str, key_id: &str) -> Failure {
    let digest = crate::record::claims::digest(key_id);
    Failure::misconfigured(
        Reason::KeyRefConflict,
        format!(
            "This key already belongs to a tenant of another namespace, and a key serves one \
             namespace only. Use another key; a platform administrator finds the owner with \
             `kubectl -n '{records_namespace}' get secrets -L tenantkms.dev/tenant-namespace \
             -l 'tenantkms.dev/claim={digest}'`."
        ),
    )
}
