use jiff::civil::date;

use super::*;
use crate::provider::{Expiry, Failure, Moved, Purgeable};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().expect("a time")
}

#[allow(clippy::unnecessary_wraps, reason = "in the form that is judged")]
fn known(expires_in_days: Option<i32>, purgeable: bool) -> Reading {
    Ok(Some(Attributes {
        expires: expires_in_days.map(|days| Expiry {
            at: now() + DAY * days,
            command: "rotate".to_owned(),
        }),
        purgeable: purgeable.then(|| Purgeable {
            command: "protect".to_owned(),
        }),
        moved: None,
    }))
}

#[allow(clippy::unnecessary_wraps, reason = "in the form that is judged")]
fn secret(month: i8, day: i8) -> Option<Secret<'static>> {
    Some(Secret {
        ends: date(2026, month, day),
        client: "1-2",
    })
}

#[test]
fn every_risk_is_told_with_its_command_and_none_without() {
    use Reason::{
        AccessDenied, CredentialExpiring, KeyExpiring, PurgeProtectionOff, Unreachable, Verified,
        Verifying,
    };
    let denied = Err(Failure::denial(AccessDenied, "no"));
    let down = Err(Failure::transient(Unreachable, "?"));
    for (reading, secret, is, reason, says) in [
        (None, None, Is::Unknown, Verifying, vec![]),
        (Some(Ok(None)), None, Is::Unknown, Verified, vec!["nothing"]),
        (
            Some(denied.clone()),
            None,
            Is::Unknown,
            AccessDenied,
            vec!["no"],
        ),
        (Some(down), None, Is::Unknown, Unreachable, vec!["?"]),
        (Some(known(None, false)), None, Is::False, Verified, vec![]),
        (
            Some(known(Some(31), false)),
            secret(7, 2),
            Is::False,
            Verified,
            vec![],
        ),
        (
            Some(known(Some(30), false)),
            None,
            Is::True,
            KeyExpiring,
            vec!["2026-07-01", "rotate"],
        ),
        (
            Some(known(Some(-1), false)),
            None,
            Is::True,
            KeyExpiring,
            vec!["2026-05-31"],
        ),
        (
            Some(known(None, true)),
            None,
            Is::True,
            PurgeProtectionOff,
            vec!["protect"],
        ),
        (
            None,
            secret(7, 1),
            Is::True,
            CredentialExpiring,
            vec!["2026-07-01", "--id '1-2'"],
        ),
        (
            Some(denied),
            secret(5, 1),
            Is::True,
            CredentialExpiring,
            vec!["2026-05-01"],
        ),
        (
            Some(known(Some(1), true)),
            secret(6, 2),
            Is::True,
            KeyExpiring,
            vec!["rotate", "'1-2'", "protect"],
        ),
    ] {
        let risk = judge(reading.as_ref(), secret, now());
        assert_eq!(
            (risk.is, risk.reason),
            (is, reason),
            "{reading:?} {secret:?}"
        );
        for words in says {
            assert!(risk.message.contains(words), "{words}: {}", risk.message);
        }
    }
}

#[test]
fn a_risk_reads_the_same_tomorrow() {
    let reading = known(Some(20), true);
    let today = judge(Some(&reading), secret(6, 20), now());
    assert_eq!(today, judge(Some(&reading), secret(6, 20), now() + DAY));
}

#[test]
fn an_alias_that_moved_comes_first_and_names_the_key() {
    let attributes = Attributes {
        moved: Some(Moved {
            to: "arn:other".to_owned(),
            command: "follow".to_owned(),
        }),
        ..Attributes::default()
    };
    let risk = judge(Some(&Ok(Some(attributes))), secret(6, 2), now());
    assert_eq!((risk.is, risk.reason), (Is::True, Reason::InvalidKeyRef));
    assert!(risk.message.contains("arn:other") && risk.message.contains("follow"));
}
