//! What must survive: one record per tenant, the operator's only input besides the spec. Pure;
//! the store that keeps it is in `store.rs`. Only the holder writes, always on the version read.

pub mod claims;
pub mod keyring;
pub mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{HandledRequests, Reason, TenantKmsSpec};
use crate::provider::{Failure, TenantId};
use crate::random;

use self::keyring::Keyring;

/// The newest format. Readers accept this and the previous one, which had no keyring; a record
/// without a keyring is still written that way.
pub const FORMAT: u32 = 2;
const WITHOUT_KEYRING: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub format: u32,
    /// `namespace/name`, for people who read a backup.
    pub tenant: String,
    /// 128 random bits, given at first sight. It, not the name, identifies the tenant.
    pub tenant_uid: String,
    /// The namespace the uid is bound to.
    pub namespace_uid: String,
    /// Raised at every seal.
    pub seal_epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedSince>,
    /// The spec that was verified last and is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The canonical id of the key that belongs to this tenant's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    #[serde(default)]
    pub handled: HandledRequests,
    /// The tenant's master keys, wrapped by its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring: Option<Keyring>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSince {
    pub since: Timestamp,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub spec: TenantKmsSpec,
    /// Of which object, and which generation of it.
    pub object_uid: String,
    pub generation: i64,
}

impl Record {
    /// The record of a tenant seen for the first time.
    pub fn new(tenant: &TenantId, namespace_uid: &str) -> Result<Self, random::Unavailable> {
        Ok(Self {
            format: WITHOUT_KEYRING,
            tenant: tenant.to_string(),
            tenant_uid: random::hex::<16>()?,
            namespace_uid: namespace_uid.to_owned(),
            seal_epoch: 0,
            sealed: None,
            applied: None,
            claim: None,
            handled: HandledRequests::default(),
            keyring: None,
        })
    }

    /// Of its keyring; 0 where there is none.
    pub fn revision(&self) -> u64 {
        self.keyring.as_ref().map_or(0, |keyring| keyring.revision)
    }

    /// The same record with these master keys.
    #[must_use]
    pub fn with_keyring(self, keyring: Keyring) -> Self {
        Self {
            format: FORMAT,
            keyring: Some(keyring),
            ..self
        }
    }

    /// The same record when every master key was destroyed on purpose: the key belongs to nobody
    /// now, and no session of before lives on.
    #[must_use]
    pub fn erased(self, now: Timestamp) -> Self {
        Self {
            seal_epoch: self.seal_epoch + 1,
            applied: None,
            claim: None,
            keyring: self.keyring.map(|keyring| keyring.erase_all(now)),
            ..self
        }
    }

    /// The record of a tenant whose master keys come from a backup: nothing of what was in force
    /// comes with them, and no session of before lives on.
    pub fn restored(
        tenant: &TenantId,
        tenant_uid: &str,
        namespace_uid: &str,
        seal_epoch: u64,
        keyring: Keyring,
    ) -> Self {
        Self {
            format: FORMAT,
            tenant: tenant.to_string(),
            tenant_uid: tenant_uid.to_owned(),
            namespace_uid: namespace_uid.to_owned(),
            seal_epoch,
            sealed: None,
            applied: None,
            claim: None,
            handled: HandledRequests::default(),
            keyring: Some(keyring),
        }
    }

    /// Reads a record and refuses what is not this tenant's, damaged, or of a newer operator.
    pub fn parse(bytes: &[u8], tenant: &TenantId, namespace_uid: &str) -> Result<Self, Unusable> {
        Self::judge(bytes, tenant, Some(namespace_uid))
    }

    /// The same, whatever namespace it is bound to: for backups.
    pub fn read(bytes: &[u8], tenant: &TenantId) -> Result<Self, Unusable> {
        Self::judge(bytes, tenant, None)
    }

    fn judge(
        bytes: &[u8],
        tenant: &TenantId,
        namespace_uid: Option<&str>,
    ) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let probe: Probe = serde_json::from_slice(bytes).map_err(|_| Unusable::Corrupt)?;
        if probe.format > FORMAT {
            return Err(Unusable::TooNew);
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|_| Unusable::Corrupt)?;
        if record.tenant != tenant.to_string() {
            return Err(Unusable::Corrupt);
        }
        if namespace_uid.is_some_and(|uid| record.namespace_uid != uid) {
            return Err(Unusable::Foreign);
        }
        match &record.keyring {
            None if record.format == FORMAT => Err(Unusable::Missing),
            Some(_) if record.format != FORMAT => Err(Unusable::Corrupt),
            Some(keyring) if !keyring.is_sound() => Err(Unusable::Corrupt),
            _ => Ok(record),
        }
    }
}

/// Why a stored record is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    Corrupt,
    TooNew,
    Foreign,
    /// It had a keyring, and has none now.
    Missing,
}

impl Unusable {
    /// What to tell people; `secret` is the record's Secret, `namespace` its namespace.
    pub fn failure(self, namespace: &str, secret: &str) -> Failure {
        match self {
            Self::Corrupt => Failure::misconfigured(
                Reason::KeyringCorrupt,
                format!(
                    "The record of this tenant cannot be read, so nothing was sent to the key. \
                     Restore Secret '{secret}' from a backup: `kubectl annotate namespace \
                     '{namespace}' tenantkms.dev/break-glass=restore`, then `tenant-kms keyring \
                     import -f BACKUP.json --records-namespace '{namespace}' --replace-damaged`, \
                     or `kubectl -n '{namespace}' apply -f BACKUP.yaml`."
                ),
            ),
            Self::Missing => Failure::misconfigured(
                Reason::KeyringMissing,
                format!(
                    "The record of this tenant has lost its master keys, so nothing was sent to \
                     the key and none was made anew. Restore Secret '{secret}' from a backup: \
                     `kubectl annotate namespace '{namespace}' tenantkms.dev/break-glass=restore`, \
                     then `tenant-kms keyring import -f BACKUP.json --records-namespace \
                     '{namespace}'`."
                ),
            ),
            Self::TooNew => Failure::misconfigured(
                Reason::KeyringTooNew,
                format!(
                    "The record of this tenant was written by a newer operator and is left \
                     alone. Upgrade again (`helm upgrade`), or restore the older Secret \
                     '{secret}' in namespace '{namespace}'."
                ),
            ),
            Self::Foreign => Failure::misconfigured(
                Reason::KeyringForeign,
                format!(
                    "This namespace was deleted and created again; the record belongs to the \
                     old one, so nothing was sent to the key. If the new namespace has another \
                     owner, use another name. If the owner is the same: `kubectl annotate \
                     namespace '{namespace}' tenantkms.dev/break-glass=adopt`, then `tenant-kms \
                     keyring adopt '<name>' -n '<namespace>' --records-namespace '{namespace}'`. To \
                     start anew instead, after the same annotation: `kubectl -n '{namespace}' \
                     delete secret '{secret}'`."
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        TenantId::new("tenants", "acme")
    }

    #[test]
    fn a_record_survives_the_round_trip_and_nothing_else_is_accepted() {
        let record = Record::new(&tenant(), "ns-uid").expect("random bytes");
        let bytes = serde_json::to_vec(&record).expect("a record serializes");
        assert_eq!(
            Record::parse(&bytes, &tenant(), "ns-uid").as_ref(),
            Ok(&record)
        );
        assert_eq!(
            Record::parse(&bytes, &tenant(), "other"),
            Err(Unusable::Foreign)
        );
        assert_eq!(
            Record::parse(b"{}", &tenant(), "ns-uid"),
            Err(Unusable::Corrupt)
        );
        assert_eq!(
            Record::parse(br#"{"format":3,"new":true}"#, &tenant(), "ns-uid"),
            Err(Unusable::TooNew)
        );
        let other = TenantId::new("tenants", "globex");
        assert_eq!(
            Record::parse(&bytes, &other, "ns-uid"),
            Err(Unusable::Corrupt)
        );
    }
}
