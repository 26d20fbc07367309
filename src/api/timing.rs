//! The two clocks of a tenant: how often its key is proved and how long a proof may be relied on.
//! Must never hand out a value outside the allowed range, whatever the object says.

use std::time::Duration;

use super::duration::parse_duration;
use super::spec::{ProviderKind, TenantKmsSpec};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const MIN_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_PROOF_TTL: Duration = Duration::from_mins(5);
const MIN_PROOF_TTL: Duration = Duration::from_mins(1);
const MAX_PROOF_TTL: Duration = Duration::from_mins(5);
const MIN_SESSION: Duration = Duration::from_mins(1);
/// Where the customer brings the key, and where nobody can take it away.
const MAX_SESSION: Duration = Duration::from_mins(5);
const LOCAL_SESSION: Duration = Duration::from_hours(1);
const MAX_LOCAL_SESSION: Duration = Duration::from_hours(24);

/// The values in force, defaults included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between checks: 5 s to half of `proof_ttl`.
    pub interval: Duration,
    /// How long a proof may be relied on: 1 to 5 minutes.
    pub proof_ttl: Duration,
}

impl TenantKmsSpec {
    /// Admission keeps the values in range; a CRD of another version may not have.
    pub fn timing(&self) -> Timing {
        let written = |pick: fn(&super::VerifySpec) -> &Option<String>| {
            self.verify
                .as_ref()
                .and_then(|v| pick(v).as_deref())
                .and_then(parse_duration)
        };
        let proof_ttl = written(|v| &v.proof_ttl)
            .unwrap_or(DEFAULT_PROOF_TTL)
            .clamp(MIN_PROOF_TTL, MAX_PROOF_TTL);
        let interval = written(|v| &v.interval)
            .unwrap_or(DEFAULT_INTERVAL)
            .clamp(MIN_INTERVAL, proof_ttl / 2);
        Timing {
            interval,
            proof_ttl,
        }
    }

    /// How long a session lasts, before its proof is looked at.
    pub fn session_ttl(&self) -> Duration {
        let (default, most) = match self.provider {
            ProviderKind::Local => (LOCAL_SESSION, MAX_LOCAL_SESSION),
            _ => (MAX_SESSION, MAX_SESSION),
        };
        let written = self.session.as_ref().and_then(|one| one.ttl.as_deref());
        written
            .and_then(parse_duration)
            .unwrap_or(default)
            .clamp(MIN_SESSION, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ProviderKind, VerifySpec};

    fn timing(interval: Option<&str>, proof_ttl: Option<&str>) -> (u64, u64) {
        let timing = TenantKmsSpec {
            provider: ProviderKind::Azure,
            kms_key_ref: "https://acme-kv.vault.azure.net/keys/k".into(),
            azure: None,
            aws: None,
            gcp: None,
            verify: Some(Box::new(VerifySpec {
                interval: interval.map(Into::into),
                proof_ttl: proof_ttl.map(Into::into),
                idle_interval: None,
            })),
            master_key: None,
            session: None,
            deletion_policy: None,
            suspend: None,
        }
        .timing();
        (timing.interval.as_secs(), timing.proof_ttl.as_secs())
    }

    #[test]
    fn defaults_and_ranges() {
        assert_eq!(timing(None, None), (30, 300));
        assert_eq!(timing(Some("5s"), None), (5, 300));
        assert_eq!(timing(None, Some("1m")), (30, 60));
        assert_eq!(timing(Some("2m"), Some("4m")), (120, 240));
    }

    #[test]
    fn nonsense_is_brought_into_range() {
        assert_eq!(timing(Some("1ms"), Some("1s")), (5, 60));
        assert_eq!(timing(Some("10m"), Some("24h")), (150, 300));
        assert_eq!(timing(Some("10m"), Some("1m")), (30, 60));
        assert_eq!(
            timing(Some("soon"), Some("99999999999999999999h")),
            (30, 300)
        );
    }
}
