//! The table of docs/architecture.md, row by row.

use jiff::Timestamp;

use super::{View, report};
use crate::api::{Aspect, Condition, HandledRequests, Reason, TenantKmsStatus};
use crate::clock::Moment;
use crate::controller::candidate::{Candidate, Verdict};
use crate::provider::Failure;
use crate::seal::{Cause, State};

static NOTHING: HandledRequests = HandledRequests {
    verify_requested_at: None,
    unseal_requested_at: None,
    rotate_requested_at: None,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn moment() -> Moment {
    Moment {
        boot: std::time::Duration::from_secs(5),
        wall: std::time::Duration::from_hours(500_000),
    }
}

fn blank() -> View<'static> {
    View {
        generation: 3,
        decided: 2,
        suspended: false,
        seal: None,
        turned: false,
        seal_failure: None,
        candidate: None,
        unusable: None,
        last_failure: None,
        sealed_since: None,
        last_verified: None,
        identity: None,
        kek_version: None,
        external_id_of: None,
        refused: None,
        keyring: None,
        wanted: None,
        handled: &NOTHING,
        reading: None,
        secret: None,
        now: at(0),
    }
}

/// `phase observedGeneration | Ready Active Sealed ConfigAccepted | the rest | Ready's reason`
fn line(status: &TenantKmsStatus) -> String {
    let is = |aspect| {
        let status = status.condition(aspect).and_then(|one| one.status);
        status.map_or("-".to_owned(), |is| format!("{is:?}"))
    };
    let going: Vec<_> = [Aspect::Reconciling, Aspect::Stalled]
        .into_iter()
        .filter(|aspect| is(*aspect) == "True")
        .map(|aspect| format!("{aspect:?}"))
        .collect();
    format!(
        "{} {} | {} {} {} {} | {} | {}",
        status.phase.map_or("-", super::Phase::name),
        status.observed_generation.unwrap_or_default(),
        is(Aspect::Ready),
        is(Aspect::Active),
        is(Aspect::Sealed),
        is(Aspect::ConfigAccepted),
        going.join(" "),
        status.conditions[0].reason.map_or("-", Reason::name),
    )
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_row_of_the_table() {
    let denied = Failure::denial(Reason::AccessDenied, "no");
    let down = Failure::transient(Reason::Unreachable, "?");
    let refused = Verdict::Refused(denied.clone());
    let undecided = Verdict::Undecided(down.clone());
    let sealed = |cause| State::Sealed {
        cause,
        since: moment(),
    };
    let (by_denial, by_outage) = (sealed(Cause::Denial), sealed(Cause::Outage));
    let active = State::Active;
    let corrupt = Failure::misconfigured(Reason::KeyringCorrupt, "bad");
    let rows = [
        (
            "first probe open",
            View {
                candidate: Some(&Verdict::Open),
                decided: -1,
                ..blank()
            },
            "Pending -1 | Unknown False False Unknown | Reconciling | Verifying",
        ),
        (
            "first probe failed",
            View {
                candidate: Some(&refused),
                decided: -1,
                ..blank()
            },
            "Pending 3 | False False False False | Stalled | AccessDenied",
        ),
        (
            "first probe meets an outage",
            View {
                candidate: Some(&undecided),
                decided: -1,
                ..blank()
            },
            "Pending -1 | Unknown False False Unknown | Reconciling | Unreachable",
        ),
        (
            "active",
            View {
                seal: Some(&active),
                ..blank()
            },
            "Active 3 | True True False True |  | Verified",
        ),
        (
            "new spec refused",
            View {
                seal: Some(&active),
                candidate: Some(&refused),
                ..blank()
            },
            "Active 3 | False True False False | Stalled | AccessDenied",
        ),
        (
            "new spec open",
            View {
                seal: Some(&active),
                candidate: Some(&Verdict::Open),
                ..blank()
            },
            "Active 2 | Unknown True False Unknown | Reconciling | Verifying",
        ),
        (
            "new spec undecided",
            View {
                seal: Some(&active),
                candidate: Some(&undecided),
                ..blank()
            },
            "Active 2 | Unknown True False Unknown | Reconciling | Unreachable",
        ),
        (
            "sealed by denial",
            View {
                seal: Some(&by_denial),
                seal_failure: Some(&denied),
                sealed_since: Some(at(0)),
                ..blank()
            },
            "Sealed 3 | False False True True | Stalled | AccessDenied",
        ),
        (
            "sealed by outage",
            View {
                seal: Some(&by_outage),
                seal_failure: Some(&down),
                sealed_since: Some(at(0)),
                ..blank()
            },
            "Sealed 3 | False False True True | Reconciling | Unreachable",
        ),
        (
            "suspended while active",
            View {
                seal: Some(&active),
                suspended: true,
                ..blank()
            },
            "Suspended 3 | False False False True |  | Suspended",
        ),
        (
            "suspended while sealed",
            View {
                seal: Some(&by_denial),
                sealed_since: Some(at(0)),
                suspended: true,
                ..blank()
            },
            "Suspended 3 | False False True True |  | Suspended",
        ),
        (
            "the record cannot be used",
            View {
                unusable: Some(&corrupt),
                ..blank()
            },
            "Pending 3 | False False False False | Stalled | KeyringCorrupt",
        ),
        (
            "status wiped, sealed on record, no verdict yet",
            View {
                seal: Some(&State::Undecided),
                sealed_since: Some(at(0)),
                ..blank()
            },
            "Sealed 2 | Unknown False True Unknown | Reconciling | Verifying",
        ),
    ];
    for (name, view, expected) in rows {
        assert_eq!(line(&report(&view, None)), expected, "{name}");
    }
}

#[test]
fn a_steady_tenant_says_nothing_new() {
    let view = View {
        seal: Some(&State::Active),
        last_verified: Some(at(1)),
        ..blank()
    };
    let first = report(&view, None);
    let later = View {
        now: at(500),
        last_verified: Some(at(499)),
        ..view
    };
    assert_eq!(report(&later, Some(&first)), first);
}

#[test]
fn times_move_with_what_they_are_about() {
    let active = View {
        seal: Some(&State::Active),
        last_verified: Some(at(1)),
        ..blank()
    };
    let first = report(&active, None);
    let down = Failure::transient(Reason::Unreachable, "?");
    let failing = View {
        last_failure: Some((&down, at(60))),
        last_verified: Some(at(50)),
        now: at(60),
        ..active
    };
    let second = report(&failing, Some(&first));
    let error = second.last_verify_error.as_ref().expect("an error");
    assert_eq!(
        (error.time.0, error.reason.as_str()),
        (at(60), "Unreachable")
    );
    assert_eq!(
        second.last_verified_time.as_ref().map(|time| time.0),
        Some(at(50))
    );
    let ready = &second.conditions[0];
    assert_eq!(ready.last_transition_time.0, at(0), "Ready did not change");
    let still = View {
        last_failure: Some((&down, at(70))),
        now: at(70),
        ..failing
    };
    assert_eq!(
        report(&still, Some(&second)),
        second,
        "one outage is told once"
    );
}

#[test]
fn a_seal_that_was_over_before_it_was_told_is_seen_from_the_time_of_active() {
    let active = View {
        seal: Some(&State::Active),
        ..blank()
    };
    let before = report(&active, None);
    let turned = View {
        turned: true,
        now: at(60),
        ..active
    };
    let after = report(&turned, Some(&before));
    let times = |status: &TenantKmsStatus| {
        let all = status.conditions.iter();
        all.map(|one| one.last_transition_time.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&before)[1], at(0));
    assert_eq!(times(&after), [at(0), at(60), at(0), at(0), at(0)]);
    let steady = View {
        turned: false,
        now: at(90),
        ..turned
    };
    assert_eq!(report(&steady, Some(&after)), after, "once");
}

#[test]
fn a_time_from_the_future_is_not_kept() {
    let view = View {
        seal: Some(&State::Active),
        ..blank()
    };
    let mut forged = report(&view, None);
    forged.conditions[0].last_transition_time.0 = at(10_000);
    assert_eq!(
        report(&view, Some(&forged)).conditions[0]
            .last_transition_time
            .0,
        at(0)
    );
}

#[test]
fn a_risk_in_words_that_are_not_ours_is_written_over() {
    let view = View {
        seal: Some(&State::Active),
        ..blank()
    };
    let mut odd = report(&view, None);
    let mut all = odd.conditions.iter_mut();
    let risk = all.find(|one| one.type_ == Some(Aspect::KeyAtRisk));
    risk.expect("one").reason = None;
    let after = report(&view, Some(&odd));
    assert!(after.conditions.iter().all(Condition::is_ours));
}

#[test]
fn a_candidate_starts_open() {
    let spec = crate::api::TenantKmsSpec::new(crate::api::ProviderKind::Azure, "k");
    assert_eq!(*Candidate::new(spec, 1, moment()).verdict(), Verdict::Open);
}
