//! Attempts under way: at most one on the spec in force and one on a candidate for each tenant.
//! An attempt never writes; its answer waits until the tenant is reconciled again, but for a no.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::context::Context;
use super::shares::{Permit, Urgency};
use super::tenant::{Checked, Rotated, Rotation, Surveyed, Tried};
use super::work::{self, Active, Bound};
use crate::api::{ProviderKind, Reason, TenantKmsSpec};
use crate::clock::Moment;
use crate::provider::{Anchor, Failure, Kind, TenantId};
use crate::seal;

/// How long a candidate's attempt may take.
const TRIAL_DEADLINE: Duration = Duration::from_secs(15);
/// And how much longer for each master key that is re-wrapped.
const EACH_KEY: Duration = Duration::from_millis(500);

/// A try of a spec that is not in force.
#[derive(Clone, Debug)]
pub struct Trial {
    pub spec: TenantKmsSpec,
    pub started: Moment,
}

#[derive(Debug, Default)]
pub struct OpenAttempts {
    pub check: Slot<seal::Attempt, Checked>,
    pub trial: Slot<Trial, Tried>,
    pub survey: Slot<(), Surveyed>,
    pub rotation: Slot<Rotation, Rotated>,
}

impl OpenAttempts {
    /// Ends what is under way; nobody hears an answer.
    pub fn abandon(&mut self) {
        *self = Self::default();
    }
}

/// Room for one open attempt. Most tenants have none most of the time.
#[derive(Debug)]
pub struct Slot<T, S>(Option<Box<Open<T, S>>>);

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
}

impl Launch<'_> {
    /// The right to make one more attempt; `None` when too many are under way.
    pub fn permit(&self, urgency: Urgency) -> Option<Permit> {
        self.ctx.attempts.permit(urgency)
    }

    /// Proves the spec in force. A no holds from the moment it is heard.
    pub fn check(
        self,
        slot: &mut Slot<seal::Attempt, Checked>,
        permit: Permit,
        spec: TenantKmsSpec,
        active: Active,
        attempt: seal::Attempt,
    ) {
        let (ctx, id) = (self.ctx.clone(), self.id.clone());
        let work = async move {
            let check = work::check(&ctx, &id, &spec, &active, attempt.fresh_token);
            let checked = measured(&ctx, spec.provider, attempt.deadline, check).await;
            // Who takes the answer may wait for the API server just now. With a fresh token it is asked
            // while nothing is given out anyway.
            if let Err(failure) = &checked
                && failure.kind == Kind::Denial
                && !attempt.fresh_token
            {
                ctx.void(&id, Some(failure.clone()));
            }
            checked
        };
        self.launch(slot, permit, attempt, work);
    }

    /// Tries a candidate; `before` is the spec in force, if its keys may be moved.
    pub fn trial(
        self,
        slot: &mut Slot<Trial, Tried>,
        permit: Permit,
        trial: Trial,
        before: Option<TenantKmsSpec>,
        bound: Bound,
    ) {
        let (ctx, id, spec) = (self.ctx.clone(), self.id.clone(), trial.spec.clone());
        let deadline = patience(&bound);
        let work = async move {
            let trial = work::attempt(&ctx, &id, &spec, before.as_ref(), &bound);
            measured(&ctx, spec.provider, deadline, trial).await
        };
        self.launch(slot, permit, trial, work);
    }

    /// Looks at the key in force, beside the checks and never for them.
    pub fn survey(
        self,
        slot: &mut Slot<(), Surveyed>,
        permit: Permit,
        spec: TenantKmsSpec,
        anchor: Anchor,
    ) {
        let (ctx, id) = (self.ctx.clone(), self.id.clone());
        let work = async move {
            let survey = work::survey(&ctx, &id, &spec, &anchor);
            within(TRIAL_DEADLINE, survey).await
        };
        self.launch(slot, permit, (), work);
    }

    /// Makes a further master key.
    pub fn rotate(
        self,
        slot: &mut Slot<Rotation, Rotated>,
        permit: Permit,
        rotation: Rotation,
        spec: TenantKmsSpec,
        bound: Bound,
    ) {
        let (ctx, id, deadline) = (self.ctx.clone(), self.id.clone(), patience(&bound));
        let work = async move {
            let rotated = work::rotate(&ctx, &id, &spec, &bound);
            within(deadline, rotated).await
        };
        self.launch(slot, permit, rotation, work);
    }

    fn launch<T, S: Send + 'static>(
        self,
        slot: &mut Slot<T, S>,
        permit: Permit,
        what: T,
        work: impl Future<Output = Result<S, Failure>> + Send + 'static,
    ) {
        let (answered, answer) = oneshot::channel();
        let (wakes, id) = (self.ctx.wakes.clone(), self.id.clone());
        let task = tokio::spawn(async move {
            let _permit = permit;
            let result = work.await;
            // The receiver is gone when the attempt was abandoned meanwhile.
            if answered.send(result).is_ok() {
                wakes.send(&id).await;
            }
        });
        *slot = Slot(Some(Box::new(Open { what, answer, task })));
    }
}

/// An attempt that proves a spec: with its deadline, and counted.
pub(super) async fn measured<S>(
    ctx: &Context,
    provider: ProviderKind,
    deadline: Duration,
    work: impl Future<Output = Result<S, Failure>> + Send,
) -> Result<S, Failure> {
    let timer = ctx.metrics.attempt_started(provider);
    let result = within(deadline, work).await;
    timer.ended(result.as_ref().err());
    result
}

async fn within<S>(
    deadline: Duration,
    work: impl Future<Output = Result<S, Failure>> + Send,
) -> Result<S, Failure> {
    let answer = timeout(deadline, work).await;
    answer.unwrap_or_else(|_| Err(late(deadline)))
}

/// Each live version may have to be opened, wrapped and opened again.
fn patience(bound: &Bound) -> Duration {
    let live = bound.keyring.as_ref().map_or(0, |one| one.live().count());
    TRIAL_DEADLINE + EACH_KEY * u32::try_from(live).unwrap_or(u32::MAX)
}
