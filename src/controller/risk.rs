//! `KeyAtRisk`: what will go wrong with a key that works today. Pure. It warns people and changes
//! nothing else: no seal, no refusal.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::tenant::Reading;
use crate::api::condition::{NO_RISK, NOTHING_TOLD};
use crate::api::{Is, Reason, TenantKmsSpec};
use crate::provider::Attributes;

/// How long before its end a thing is at risk.
const NOTICE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A client secret whose end the spec tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secret<'a> {
    pub ends: Date,
    /// The application's id.
    pub client: &'a str,
}

impl<'a> Secret<'a> {
    pub fn of(spec: &'a TenantKmsSpec) -> Option<Self> {
        let azure = spec.azure.as_ref()?;
        let ends = azure.client_secret.as_ref()?.expires_on.as_deref()?;
        let client = azure.client_id.as_deref().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        Some(Self {
            ends: ends.parse().ok()?,
            client: if client.bytes().all(plain) {
                client
            } else {
                ""
            },
        })
    }
}

/// The condition's status, reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    pub is: Is,
    pub reason: Reason,
    pub message: String,
}

/// What is known to go wrong, most urgent first. Nothing here depends on `now` but whether it is
/// said, so that a risk is written once.
pub fn judge(reading: Option<&Reading>, secret: Option<Secret<'_>>, now: Timestamp) -> Risk {
    let attributes = reading.and_then(|reading| reading.as_ref().ok()?.as_ref());
    let risks = [
        attributes.and_then(moved),
        attributes.and_then(|known| key_ends(known, now)),
        secret.and_then(|secret| secret_ends(secret, now)),
        attributes.and_then(purgeable),
    ];
    let risks: Vec<_> = risks.into_iter().flatten().collect();
    match risks.first() {
        Some((reason, _)) => Risk {
            is: Is::True,
            reason: *reason,
            message: risks
                .iter()
                .map(|(_, message)| message.as_str())
                .collect::<Vec<_>>()
                .join(" "),
        },
        None => without_risk(reading),
    }
}

type Known = (Reason, String);

fn moved(known: &Attributes) -> Option<Known> {
    let moved = known.moved.as_ref()?;
    let message = format!(
        "The alias in spec.kmsKeyRef names another key now, {}. It is not followed: the tenant \
         goes on with the key that wraps its master keys. Check with the key's owner; the \
         tenant moves there by: {}",
        moved.to, moved.command
    );
    Some((Reason::InvalidKeyRef, message))
}

fn key_ends(known: &Attributes, now: Timestamp) -> Option<Known> {
    let expiry = known.expires.as_ref()?;
    let message = format!(
        "The key expires at {}, and is refused from then on. Its owner rotates it, or moves \
         the date: {}",
        expiry.at, expiry.command
    );
    near(expiry.at, now).then_some((Reason::KeyExpiring, message))
}

fn secret_ends(secret: Secret<'_>, now: Timestamp) -> Option<Known> {
    let ends = secret.ends.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let message = format!(
        "The client secret ends on {}, by spec.azure.clientSecret.expiresOn. Make another, \
         hand it over, and change the date: az ad app credential reset --append --id '{}'",
        secret.ends, secret.client
    );
    near(ends, now).then_some((Reason::CredentialExpiring, message))
}

fn purgeable(known: &Attributes) -> Option<Known> {
    let purgeable = known.purgeable.as_ref()?;
    let message = format!(
        "The vault has no purge protection: a deleted key can be purged at once, and what it \
         wraps is lost for good. The vault's owner turns it on: {}",
        purgeable.command
    );
    Some((Reason::PurgeProtectionOff, message))
}

/// Whether that is so, or not known.
fn without_risk(reading: Option<&Reading>) -> Risk {
    let (is, reason, message) = match reading {
        Some(Ok(Some(_))) => (Is::False, Reason::Verified, NO_RISK.to_owned()),
        Some(Ok(None)) => (Is::Unknown, Reason::Verified, NOTHING_TOLD.to_owned()),
        Some(Err(failure)) => (
            Is::Unknown,
            failure.reason,
            format!(
                "The key's attributes could not be read: {}",
                failure.message
            ),
        ),
        None => (
            Is::Unknown,
            Reason::Verifying,
            "The key's attributes are read when the key is proved.".to_owned(),
        ),
    };
    Risk {
        is,
        reason,
        message,
    }
}

fn near(end: Timestamp, now: Timestamp) -> bool {
    end.duration_since(now) <= NOTICE
}

#[cfg(test)]
#[path = "risk_tests.rs"]
mod tests;
