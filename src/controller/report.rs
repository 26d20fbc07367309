//! From what is known of a tenant to its status: one row of the table in docs/architecture.md.
//! Pure. Every message here is the operator's own.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::candidate::Verdict;
use super::risk::{self, Secret};
use super::tenant::Reading;
use crate::api::condition::{self, Aspect, Condition, Is};
use crate::api::duration::format_duration;
use crate::api::{
    DeletionPolicy, Effective, HandledRequests, MasterKeyStatus, Phase, Reason, TenantKmsSpec,
    TenantKmsStatus, VerifyError,
};
use crate::provider::{Failure, external_id};
use crate::record::keyring::{Key, Keyring};
use crate::seal::{Cause, State};

/// What a report is made from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Of the object as it is now.
    pub generation: i64,
    /// The newest generation that was decided before.
    pub decided: i64,
    pub suspended: bool,
    /// Of the spec in force; `None` before there is one.
    pub seal: Option<&'a State>,
    /// It was sealed and is so no more since the last report.
    pub turned: bool,
    /// What explains the seal.
    pub seal_failure: Option<&'a Failure>,
    /// A newer spec that is not in force.
    pub candidate: Option<&'a Verdict>,
    /// The record cannot be used, so nothing is tried.
    pub unusable: Option<&'a Failure>,
    pub last_failure: Option<(&'a Failure, Timestamp)>,
    /// From the record: a seal that was there before this process.
    pub sealed_since: Option<Timestamp>,
    pub last_verified: Option<Timestamp>,
    pub identity: Option<&'a str>,
    pub kek_version: Option<&'a str>,
    /// The tenant's uid, where its external id is to be told.
    pub external_id_of: Option<&'a str>,
    /// What the key in use can do no more, or what keeps its master key from being rotated.
    pub refused: Option<&'a Failure>,
    pub keyring: Option<&'a Keyring>,
    /// The spec of the object as it is now.
    pub wanted: Option<&'a TenantKmsSpec>,
    pub handled: &'a HandledRequests,
    /// What was read of the key in force.
    pub reading: Option<&'a Reading>,
    /// The client secret in force, if its end is known.
    pub secret: Option<Secret<'a>>,
    pub now: Timestamp,
}

/// What is still going on, as kstatus wants to hear it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    Steady,
    Reconciling,
    Stalled,
}

#[derive(Clone, Copy)]
struct Words<'a> {
    reason: Reason,
    message: &'a str,
}

impl<'a> From<&'a Failure> for Words<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            reason: failure.reason,
            message: &failure.message,
        }
    }
}

/// How many master keys are told.
const NEWEST: usize = 10;
const VERIFIED: Words<'static> = Words {
    reason: Reason::Verified,
    message: condition::WORKS,
};
const IN_FORCE: Words<'static> = Words {
    reason: Reason::Verified,
    message: condition::IN_FORCE,
};
const VERIFYING: Words<'static> = Words {
    reason: Reason::Verifying,
    message: "The key is being proved for the first time.",
};
const NEW_SPEC: Words<'static> = Words {
    reason: Reason::Verifying,
    message: "The new spec is being proved; the verified one stays in force.",
};
const SUSPENDED: Words<'static> = Words {
    reason: Reason::Suspended,
    message: "spec.suspend is true: no call is made and nothing is served. \
              Set spec.suspend to false to resume.",
};
const SEALED_BEFORE: Words<'static> = Words {
    reason: Reason::Verifying,
    message: "Sealed; the key is being proved again.",
};

/// The row of the table: what each condition says and why.
struct Row<'a> {
    phase: Phase,
    ready: (Is, Words<'a>),
    active: (Is, Words<'a>),
    sealed: (Is, Words<'a>),
    accepted: (Is, Words<'a>),
    going: Going,
}

/// The words and the state of `ConfigAccepted`, and of `Ready` for a tenant that is not sealed.
fn accepted(candidate: Option<&Verdict>) -> (Is, Words<'_>, Going) {
    match candidate {
        None => (Is::True, IN_FORCE, Going::Steady),
        Some(Verdict::Open) => (Is::Unknown, NEW_SPEC, Going::Reconciling),
        Some(Verdict::Undecided(failure)) => (Is::Unknown, failure.into(), Going::Reconciling),
        Some(Verdict::Refused(failure)) => (Is::False, failure.into(), Going::Stalled),
    }
}

fn row<'a>(view: &View<'a>) -> Row<'a> {
    let sealed_before = view.sealed_since.is_some();
    let sealed_is = if sealed_before { Is::True } else { Is::False };
    if view.suspended {
        let (accepted, ..) = accepted(view.candidate);
        return Row {
            phase: Phase::Suspended,
            ready: (Is::False, SUSPENDED),
            active: (Is::False, SUSPENDED),
            sealed: (sealed_is, SUSPENDED),
            accepted: (accepted, SUSPENDED),
            going: Going::Steady,
        };
    }
    if let Some(failure) = view.unusable {
        return pending(failure.into(), Is::False, Is::False, Going::Stalled);
    }
    match view.seal {
        Some(State::Active) => active(view),
        Some(State::Sealed { cause, .. }) => sealed(view, *cause),
        // Without a verdict of this process: what the record knows, for an object without status.
        Some(State::Undecided) => {
            let words = if sealed_before {
                SEALED_BEFORE
            } else {
                VERIFYING
            };
            Row {
                phase: if sealed_before {
                    Phase::Sealed
                } else {
                    Phase::Pending
                },
                ready: (Is::Unknown, words),
                active: (Is::False, words),
                sealed: (sealed_is, words),
                accepted: (Is::Unknown, words),
                going: Going::Reconciling,
            }
        }
        None => match view.candidate {
            Some(Verdict::Refused(failure)) => {
                pending(failure.into(), Is::False, Is::False, Going::Stalled)
            }
            Some(Verdict::Undecided(failure)) => {
                pending(failure.into(), Is::Unknown, Is::Unknown, Going::Reconciling)
            }
            Some(Verdict::Open) | None => {
                pending(VERIFYING, Is::Unknown, Is::Unknown, Going::Reconciling)
            }
        },
    }
}

fn active<'a>(view: &View<'a>) -> Row<'a> {
    let (is, words, going) = accepted(view.candidate);
    let (ready, going) = match (view.candidate, view.refused) {
        (Some(_), _) => ((is, words), going),
        (None, Some(refused)) => ((Is::False, refused.into()), Going::Stalled),
        (None, None) => ((is, VERIFIED), going),
    };
    Row {
        phase: Phase::Active,
        ready,
        active: (Is::True, VERIFIED),
        sealed: (Is::False, VERIFIED),
        accepted: (is, words),
        going,
    }
}

fn sealed<'a>(view: &View<'a>, cause: Cause) -> Row<'a> {
    let why = view.seal_failure.map_or(SEALED_BEFORE, Words::from);
    let (is, words, _) = accepted(view.candidate);
    Row {
        phase: Phase::Sealed,
        ready: (Is::False, why),
        active: (Is::False, why),
        sealed: (Is::True, why),
        accepted: (is, words),
        going: match cause {
            Cause::Denial => Going::Stalled,
            Cause::Outage => Going::Reconciling,
        },
    }
}

fn pending(words: Words<'_>, ready: Is, accepted: Is, going: Going) -> Row<'_> {
    Row {
        phase: Phase::Pending,
        ready: (ready, words),
        active: (Is::False, words),
        sealed: (Is::False, words),
        accepted: (accepted, words),
        going,
    }
}

/// The status that says it. `reported` is what this process wrote last (or, after a start, found):
/// times that did not change are taken from there, so that a steady tenant causes no write.
pub fn report(view: &View<'_>, reported: Option<&TenantKmsStatus>) -> TenantKmsStatus {
    let row = row(view);
    let undecided = !view.suspended && matches!(row.accepted.0, Is::Unknown);
    let observed = if undecided {
        view.decided
    } else {
        view.generation
    };
    let mut conditions = vec![
        condition(Aspect::Ready, &row.ready, view, reported),
        condition(
            Aspect::Active,
            &row.active,
            view,
            reported.filter(|_| !view.turned),
        ),
        condition(Aspect::Sealed, &row.sealed, view, reported),
        condition(Aspect::ConfigAccepted, &row.accepted, view, reported),
        at_risk(view, reported),
    ];
    let why = row.ready.1;
    let going = match row.going {
        Going::Steady => None,
        Going::Reconciling => Some(Aspect::Reconciling),
        Going::Stalled => Some(Aspect::Stalled),
    };
    conditions.extend(going.map(|aspect| condition(aspect, &(Is::True, why), view, reported)));
    let mut status = TenantKmsStatus {
        observed_generation: Some(observed),
        phase: Some(row.phase),
        conditions,
        sealed_since: view.sealed_since.map(Time),
        last_verified_time: reported
            .and_then(|old| old.last_verified_time.clone())
            .filter(|time| (Timestamp::UNIX_EPOCH..=view.now).contains(&time.0)),
        last_verify_error: view.last_failure.map(|(failure, at)| {
            let known = reported.and_then(|old| old.last_verify_error.as_deref());
            Box::new(verify_error(failure, at, known))
        }),
        identity: view.identity.map(str::to_owned),
        kek_version: view.kek_version.map(str::to_owned),
        master_keys: view.keyring.map_or_else(Vec::new, master_keys),
        effective: view.wanted.map(effective),
        external_id: view.external_id_of.map(external_id),
        handled_requests: (*view.handled != HandledRequests::default())
            .then(|| Box::new(view.handled.clone())),
    };
    if reported != Some(&status) {
        status.last_verified_time = view.last_verified.map(Time).or(status.last_verified_time);
    }
    status
}

fn effective(spec: &TenantKmsSpec) -> Effective {
    let timing = spec.timing();
    Effective {
        interval: format_duration(timing.interval),
        proof_ttl: format_duration(timing.proof_ttl),
        deletion_policy: match spec.deletion_policy {
            Some(DeletionPolicy::Erase) => "Erase".to_owned(),
            _ => "Retain".to_owned(),
        },
    }
}

/// The newest ones, newest first.
fn master_keys(keyring: &Keyring) -> Vec<MasterKeyStatus> {
    let newest = keyring.versions.iter().rev().take(NEWEST);
    let told = newest.map(|version| MasterKeyStatus {
        id: version.id.to_string(),
        version: version.number,
        state: version.key.state().to_owned(),
        created_time: Time(version.created),
        retired_time: match version.key {
            Key::Retired { retired, .. } => Some(Time(retired)),
            Key::Active { .. } | Key::Erased { .. } => None,
        },
    });
    told.collect()
}

/// `KeyAtRisk`. A process that has read nothing yet leaves what is said of an active tenant: the
/// reading follows the first proof at once.
fn at_risk(view: &View<'_>, reported: Option<&TenantKmsStatus>) -> Condition {
    let risk = risk::judge(view.reading, view.secret, view.now);
    let words = Words {
        reason: risk.reason,
        message: &risk.message,
    };
    let judged = condition(Aspect::KeyAtRisk, &(risk.is, words), view, reported);
    let active = view.seal == Some(&State::Active) && !view.suspended;
    let said = reported.and_then(|old| old.condition(Aspect::KeyAtRisk));
    match said {
        Some(said)
            if active && view.reading.is_none() && risk.is == Is::Unknown && said.is_ours() =>
        {
            Condition {
                observed_generation: judged.observed_generation,
                ..said.clone()
            }
        }
        _ => judged,
    }
}

/// One failure that goes on is reported once: its first time and request id stay.
pub fn verify_error(failure: &Failure, at: Timestamp, known: Option<&VerifyError>) -> VerifyError {
    let code = failure.code.as_ref().map(|code| code.as_str().to_owned());
    match known {
        Some(known)
            if known.reason == failure.reason.name()
                && known.message == failure.message
                && known.code == code
                && known.time.0 <= at =>
        {
            known.clone()
        }
        _ => VerifyError {
            reason: failure.reason.name().to_owned(),
            message: failure.message.clone(),
            code,
            request_id: failure.request_id.as_ref().map(|id| id.as_str().to_owned()),
            time: Time(at),
        },
    }
}

fn condition(
    aspect: Aspect,
    (is, words): &(Is, Words<'_>),
    view: &View<'_>,
    reported: Option<&TenantKmsStatus>,
) -> Condition {
    let before = reported
        .and_then(|status| status.condition(aspect))
        .filter(|before| before.status == Some(*is) && before.last_transition_time.0 <= view.now);
    Condition {
        type_: Some(aspect),
        status: Some(*is),
        reason: Some(words.reason),
        message: condition::message(words.message),
        observed_generation: Some(view.generation),
        last_transition_time: before
            .map_or(Time(view.now), |before| before.last_transition_time.clone()),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
