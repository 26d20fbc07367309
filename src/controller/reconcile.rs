//! One look at one tenant: watch → decide → act → report. The cloud is never waited for here:
//! attempts run beside, and their answers bring the tenant back.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Span, debug, info, warn};

use super::attempt::{Launch, Trial};
use super::context::{Context, Entry};
use super::installation::{self, Claimed};
use super::object::{Guarded, Object};
use super::outcome::{Outcome, ReconcileError};
use super::shares::Urgency;
use super::tenant::{Checked, until};
use super::{erasure, malformed, prompts, recording, status};
use crate::api::Reason;
use crate::clock::Moment;
use crate::provider::TenantId;
use crate::seal::{Seal, State, Transition};

const MOST_BACK_OFF: Duration = Duration::from_secs(30);
/// How soon to look again when too many attempts are under way.
const CROWDED: Duration = Duration::from_secs(1);
/// How often a record that cannot be used is read again: a person may have mended it.
const READ_AGAIN: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(10);

/// One wrapper for metrics, back-off and logs. Says after what pause to look again by itself.
pub async fn run(ctx: &Arc<Context>, id: &TenantId, guarded: &Arc<Guarded>) -> Option<Duration> {
    let started = ctx.clock.now();
    let (outcome, next) = match guarded.as_ref() {
        Err(invalid) => malformed::reconcile(ctx, invalid).await,
        Ok(object) => {
            let span = tracing::info_span!("reconcile", tenant = %id);
            tenant(ctx, guarded, object, id, &span).await
        }
    };
    ctx.metrics
        .reconciled(outcome, ctx.clock.now().since(started));
    next
}

async fn tenant(
    ctx: &Arc<Context>,
    guarded: &Arc<Guarded>,
    object: &Object,
    id: &TenantId,
    span: &Span,
) -> (Outcome, Option<Duration>) {
    if !*ctx.held.borrow() {
        ctx.forget(id);
        return (Outcome::NotHeld, None);
    }
    if object.meta.deleted.is_some() {
        ctx.forget(id);
        return deleting(ctx, object, id).await;
    }
    let entry = ctx.entry(id, &object.meta.uid).await;
    let mut entry = entry.lock().await;
    match pass(ctx, guarded, object, id, &mut entry).await {
        Ok(outcome) => {
            entry.api_failures = 0;
            let next = next_look(ctx, &entry);
            (outcome, next)
        }
        Err(ReconcileError::Turn(wait)) => {
            let next = next_look(ctx, &entry).map_or(wait, |next| next.min(wait));
            (Outcome::Deferred, Some(next))
        }
        Err(error) => {
            entry.api_failures = entry.api_failures.saturating_add(1);
            span.in_scope(|| {
                warn!(
                    error = %error, records_namespace = %ctx.records_namespace,
                    "the API server did not take a change"
                );
            });
            if error.is_forbidden() && entry.api_failures == 2 {
                let message = missing_rights(ctx, &error);
                ctx.events
                    .tell(&object.meta, Reason::KeyringMissing, false, &message);
            }
            let back_off = Duration::from_secs(1 << entry.api_failures.min(5)).min(MOST_BACK_OFF);
            let again = back_off.mul_f64(0.5 + 0.5 * (ctx.jitter)());
            let next = next_look(ctx, &entry).map_or(again, |next| next.min(again));
            (Outcome::ApiError, Some(next))
        }
    }
}

/// A deleted tenant is served no more; its keys may wait to be erased.
async fn deleting(ctx: &Context, object: &Object, id: &TenantId) -> (Outcome, Option<Duration>) {
    if !erasure::is_guarded(object) || installation::is_foreign(ctx, &object.meta) {
        return (Outcome::Deleting, None);
    }
    match erasure::carry_out(ctx, object, id).await {
        Ok(next) => (Outcome::Deleting, next),
        Err(error) => {
            warn!(tenant = %id, %error, "the API server did not take a change");
            let again = MOST_BACK_OFF.mul_f64(0.5 + 0.5 * (ctx.jitter)());
            (Outcome::ApiError, Some(again))
        }
    }
}

fn missing_rights(ctx: &Context, error: &ReconcileError) -> String {
    format!(
        "The operator lacks a right and cannot go on ({error}). Check what its ServiceAccount may do: \
         kubectl auth can-i --list --namespace '{}' --as 'system:serviceaccount:<namespace>:<name>', \
         and the chart's value rbac.create.",
        ctx.records_namespace
    )
}

/// When to look again without being woken.
pub(super) fn next_look(ctx: &Context, entry: &Entry) -> Option<Duration> {
    let now = ctx.clock.now();
    let tenant = &entry.tenant;
    let later = || READ_AGAIN.mul_f64(0.5 + 0.5 * (ctx.jitter)());
    let record = tenant.needs_record().then(later);
    // What could not be written keeps its pace.
    let erasure = tenant.next_erasure(now).map(|wait| match wait {
        Duration::ZERO => later(),
        wait => wait,
    });
    if tenant.is_suspended() {
        return record.into_iter().chain(erasure).min();
    }
    // Due and not begun: too many are under way.
    let soon = |wait: Duration| match wait {
        Duration::ZERO => CROWDED.mul_f64(0.5 + (ctx.jitter)()),
        wait => wait,
    };
    let tick = tenant.seal().and_then(|seal| seal.next_tick(now));
    let check = tenant
        .seal()
        .filter(|_| !entry.open.check.is_open())
        .and_then(|seal| seal.next_attempt(now))
        .map(soon);
    let trial = tenant
        .candidate()
        .filter(|_| !entry.open.trial.is_open())
        .map(|candidate| soon(until(candidate.next(), now)));
    let asked = tenant.next_request(now);
    let rotation = Some(&entry.open.rotation)
        .filter(|open| !open.is_open())
        .and_then(|_| tenant.next_rotation(now))
        .map(soon);
    [record, erasure, tick, check, trial, asked, rotation]
        .into_iter()
        .flatten()
        .min()
        .map(|pause| pause.max(SHORTEST))
}

/// Decide, act, report. An error of the API server stops nothing but the call it hit: a tenant that
/// is known goes on being verified.
async fn pass(
    ctx: &Arc<Context>,
    guarded: &Arc<Guarded>,
    object: &Object,
    id: &TenantId,
    entry: &mut Entry,
) -> Result<Outcome, ReconcileError> {
    let mut failed = None;
    match installation::claim(ctx, &object.meta).await {
        Ok(Claimed::Ours) => {}
        Ok(Claimed::Foreign) => {
            ctx.forget(id);
            return Ok(Outcome::Foreign);
        }
        Err(error) => keep(&mut failed, Err(error)),
    }
    let before = look(ctx, object, id, entry, &mut failed).await;
    if let Some(error) = failed.take_if(|_| entry.tenant.stored.is_none()) {
        return Err(error);
    }
    let keyring = entry.tenant.keyring();
    keep(&mut failed, erasure::prepare(ctx, object, keyring).await);
    // The writes may have taken seconds, in which time goes on.
    collect(ctx, id, entry, ctx.clock.now());
    let after = entry.tenant.seal().map(|seal| *seal.state());
    let wrote = match status::report(ctx, guarded, entry).await {
        Ok(wrote) => wrote,
        Err(error) => {
            keep(&mut failed, Err(error));
            false
        }
    };
    match failed {
        Some(error) => Err(error),
        None if before != after => Ok(Outcome::Transition),
        None if wrote => Ok(Outcome::Reported),
        None => Ok(Outcome::Steady),
    }
}

/// One look at a tenant: reads its record where it has to, takes the answers that came, begins what
/// is due, and puts on record what follows. What `failed` before keeps the record from being read.
/// Gives the state that was found.
pub(super) async fn look(
    ctx: &Arc<Context>,
    object: &Object,
    id: &TenantId,
    entry: &mut Entry,
    failed: &mut Option<ReconcileError>,
) -> Option<State> {
    if failed.is_none() && entry.tenant.needs_record() {
        keep(failed, recording::load(ctx, id, entry).await);
    }
    if failed.is_some() && entry.tenant.stored.is_none() {
        return None;
    }
    let now = ctx.clock.now();
    entry.tenant.observe(object, now);
    if entry.tenant.is_suspended() {
        entry.open.abandon();
        ctx.wipe(id);
    }
    let before = entry.tenant.seal().map(|seal| *seal.state());
    collect(ctx, id, entry, now);
    prompts::look_at_policy(ctx, id, entry, now);
    prompts::look_at_barrier(ctx, id, entry, now);
    keep(failed, recording::put_in_force(ctx, id, entry).await);
    begin(ctx, id, entry);
    keep(failed, recording::put_on_record(ctx, id, entry).await);
    before
}

/// The first error is the one to tell.
fn keep(failed: &mut Option<ReconcileError>, result: Result<(), ReconcileError>) {
    if let Err(error) = result {
        failed.get_or_insert(error);
    }
}

/// Takes the answers that came, and what time alone has changed.
pub(super) fn collect(ctx: &Context, id: &TenantId, entry: &mut Entry, now: Moment) {
    let jitter = (ctx.jitter)();
    let mut transitions = Vec::new();
    if let Some((attempt, answer)) = entry.open.check.answered() {
        let (answer, opened) = match answer {
            Ok(Checked { success, opened }) => (Ok(success), opened),
            Err(failure) => {
                info!(tenant = %id, kind = ?failure.kind, failure = %failure, "a check failed");
                (Err(failure), None)
            }
        };
        transitions.push(entry.tenant.checked(attempt, answer, now, jitter));
        if let Some(opened) = opened
            && entry.tenant.seal().and_then(Seal::proof) == Some(attempt.started)
        {
            recording::hold(ctx, id, entry, opened, attempt.started);
        }
    }
    if let Some((trial, answer)) = entry.open.trial.answered() {
        if let Err(failure) = &answer {
            info!(tenant = %id, kind = ?failure.kind, failure = %failure, "a new spec failed");
        }
        entry
            .tenant
            .tried(&trial.spec, trial.started, answer, now, jitter);
    }
    if let Some(((), surveyed)) = entry.open.survey.answered() {
        entry.tenant.surveyed(surveyed, now, jitter);
    }
    if let Some((rotation, rotated)) = entry.open.rotation.answered() {
        if let Err(failure) = &rotated {
            info!(tenant = %id, kind = ?failure.kind, failure = %failure, "a rotation failed");
        }
        entry.tenant.rotated(rotation, rotated, now, jitter);
    }
    transitions.push(entry.tenant.tick(now, jitter));
    for transition in transitions.into_iter().flatten() {
        note(ctx, id, entry, transition);
    }
}

/// Sealing wipes what the tenant's use rests on: clients and tokens go at once.
pub(super) fn note(ctx: &Context, id: &TenantId, entry: &mut Entry, transition: Transition) {
    if matches!(transition, Transition::Sealed(_) | Transition::Doubted) {
        ctx.keys.wipe(id);
        // Nothing that was made while the customer still agreed goes on record now.
        entry.open.rotation.abandon();
        entry.open.survey.abandon();
        entry.tenant.drop_made(ctx.clock.now());
    }
    let reason = entry
        .tenant
        .seal()
        .and_then(|seal| seal.failure())
        .map(|failure| failure.reason);
    ctx.metrics.transition(transition, reason);
    match transition {
        Transition::Sealed(cause) => {
            ctx.providers.forget(id);
            warn!(tenant = %id, ?cause, reason = reason.map_or("", |one| one.name()), "sealed");
        }
        Transition::Unsealed => info!(tenant = %id, "unsealed"),
        Transition::Activated => debug!(tenant = %id, "active"),
        Transition::Doubted => {
            info!(tenant = %id, "denied once; nothing is served until confirmed");
        }
    }
}

/// Starts the attempts that are due.
fn begin(ctx: &Arc<Context>, id: &TenantId, entry: &mut Entry) {
    if entry.tenant.is_suspended() || entry.tenant.unusable.is_some() {
        return;
    }
    let now = ctx.clock.now();
    let launch = || Launch { ctx, id };
    let check_due = entry
        .tenant
        .seal()
        .and_then(|seal| seal.next_attempt(now))
        .is_some_and(|wait| wait.is_zero());
    if check_due
        && let Some((spec, active)) = entry.tenant.in_force().zip(entry.tenant.active())
        && let Some(seal) = entry.tenant.seal_mut()
        && let Some(permit) = launch().permit(Urgency::of(seal, now))
    {
        let attempt = seal.begin(now);
        launch().check(&mut entry.open.check, permit, spec, active, attempt);
    }
    if !entry.open.survey.is_open()
        && entry.tenant.wants_survey(now)
        && let Some((spec, active)) = entry.tenant.in_force().zip(entry.tenant.active())
        && let Some(permit) = launch().permit(Urgency::Proves)
    {
        let anchor = active.anchor();
        launch().survey(&mut entry.open.survey, permit, spec, anchor);
    }
    if !entry.open.rotation.is_open()
        && let Some(rotation) = entry.tenant.rotation_due(now)
        && let Some((spec, bound)) = entry.tenant.in_force().zip(entry.tenant.bound())
        && let Some(permit) = launch().permit(Urgency::Proves)
    {
        launch().rotate(&mut entry.open.rotation, permit, rotation, spec, bound);
    }
    let Some(candidate) = entry.tenant.candidate() else {
        entry.open.trial.abandon();
        return;
    };
    let other = |trial: &Trial| trial.spec != candidate.spec;
    if entry.open.trial.what().is_some_and(other) {
        entry.open.trial.abandon();
    }
    if !entry.open.trial.is_open()
        && entry.tenant.proved.is_none()
        && until(candidate.next(), now).is_zero()
        && let Some(bound) = entry.tenant.bound()
        && let Some(permit) = launch().permit(Urgency::of_trial(candidate))
    {
        let trial = Trial {
            spec: candidate.spec.clone(),
            started: now,
        };
        let before = entry.tenant.movable();
        launch().trial(&mut entry.open.trial, permit, trial, before, bound);
    }
}
