//! `KeyAtRisk`: what will go wrong with a key that works today. Pure. It warns people and changes
//! nothing else: no seal, no refusal.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::report::Is;
use super::tenant::Reading;
use crate::api::{Reason, TenantKmsSpec};

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
    let mut risks = Vec::new();
    let attributes = reading.and_then(|reading| reading.as_ref().ok()?.as_ref());
    if let Some(moved) = attributes.and_then(|known| known.moved.as_ref()) {
        let message = format!(
            "The alias in spec.kmsKeyRef names another key now, {}. It is not followed: the tenant \
             goes on with the key that wraps its master keys. Check with the key's owner; the \
             tenant moves there by: {}",
            moved.to, moved.command
        );
        risks.push((Reason::InvalidKeyRef, message));
    }
    if let Some(expiry) = attributes.and_then(|known| known.expires.as_ref())
        && near(expiry.at, now)
    {
        let message = format!(
            "The key expires at {}, and is refused from then on. Its owner rotates it, or moves \
             the date: {}",
            expiry.at, expiry.command
        );
        risks.push((Reason::KeyExpiring, message));
    }
    if let Some(secret) = secret
        && let Ok(ends) = secret.ends.to_zoned(TimeZone::UTC)
        && near(ends.timestamp(), now)
    {
        let message = format!(
            "The client secret ends on {}, by spec.azure.clientSecret.expiresOn. Make another, \
             hand it over, and change the date: az ad app credential reset --append --id '{}'",
            secret.ends, secret.client
        );
        risks.push((Reason::CredentialExpiring, message));
    }
    if let Some(purgeable) = attributes.and_then(|known| known.purgeable.as_ref()) {
        let message = format!(
            "The vault has no purge protection: a deleted key can be purged at once, and what it \
             wraps is lost for good. The vault's owner turns it on: {}",
            purgeable.command
        );
        risks.push((Reason::PurgeProtectionOff, message));
    }
    if let Some((reason, _)) = risks.first() {
        return Risk {
            is: Is::True,
            reason: *reason,
            message: risks
                .iter()
                .map(|(_, message)| message.as_str())
                .collect::<Vec<_>>()
                .join(" "),
        };
    }
    let unknown = |reason, message: String| Risk {
        is: Is::Unknown,
        reason,
        message,
    };
    match reading {
        Some(Ok(Some(_))) => Risk {
            is: Is::False,
            reason: Reason::Verified,
            message: "Nothing is known that endangers the key within 30 days.".to_owned(),
        },
        Some(Err(failure)) => unknown(
            failure.reason,
            format!(
                "The key's attributes could not be read: {}",
                failure.message
            ),
        ),
        Some(Ok(None)) => unknown(
            Reason::Verified,
            "The provider tells nothing of the key's attributes.".to_owned(),
        ),
        None => unknown(
            Reason::Verifying,
            "The key's attributes are read when the key is proved.".to_owned(),
        ),
    }
}

fn near(end: Timestamp, now: Timestamp) -> bool {
    end.duration_since(now) <= NOTICE
}

#[cfg(test)]
#[path = "risk_tests.rs"]
mod tests;
