//! Whether a document may be put on record, given what is on record. Pure. Never gives a tenant a
//! second keyring, and never loses or revives a version that is known here.

use serde::Deserialize;

use super::document::Document;
use crate::provider::TenantId;
use crate::record::{Record, Unusable};

/// What is on record for the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    Nothing,
    /// A record without master keys; `lost` when it had some.
    Empty {
        tenant_uid: String,
        seal_epoch: u64,
        lost: bool,
    },
    Keys(Box<Record>),
    /// Nobody can tell whose it is.
    Unreadable,
    TooNew,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Write(Box<Record>),
    /// The document is not newer; `foreign` when the record belongs to the namespace's forerunner.
    Unchanged {
        foreign: bool,
    },
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The tenant has master keys under another uid, or had.
    OtherKeyring,
    /// Each of two copies has changed without the other.
    Diverged,
    Unreadable,
    TooNew,
}

impl Existing {
    pub fn read(stored: Option<&[u8]>, tenant: &TenantId) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Emptied {
            tenant: String,
            tenant_uid: String,
            seal_epoch: u64,
        }
        let Some(bytes) = stored else {
            return Self::Nothing;
        };
        let lost = match Record::read(bytes, tenant) {
            Ok(record) if record.keyring.is_some() => return Self::Keys(Box::new(record)),
            Ok(_) => false,
            Err(Unusable::Missing) => true,
            Err(Unusable::TooNew) => return Self::TooNew,
            Err(Unusable::Corrupt | Unusable::Foreign) => return Self::Unreadable,
        };
        match serde_json::from_slice::<Emptied>(bytes) {
            Ok(emptied) if emptied.tenant == tenant.to_string() => Self::Empty {
                tenant_uid: emptied.tenant_uid,
                seal_epoch: emptied.seal_epoch,
                lost,
            },
            _ => Self::Unreadable,
        }
    }
}

/// What importing `document` for `tenant` in the namespace of this UID comes to. `replace_damaged`
/// is a person's word that a record which cannot be read may go, or that the bytes in one which can
/// do not open.
pub fn decide(
    existing: &Existing,
    document: &Document,
    tenant: &TenantId,
    namespace_uid: &str,
    replace_damaged: bool,
) -> Decision {
    let mut epoch = document.seal_epoch;
    let mut keyring = document.keyring.clone();
    match existing {
        Existing::Nothing => {}
        Existing::Unreadable if replace_damaged => {}
        Existing::Unreadable => return Decision::Refuse(Refusal::Unreadable),
        Existing::TooNew => return Decision::Refuse(Refusal::TooNew),
        Existing::Empty {
            tenant_uid,
            seal_epoch,
            lost,
        } => {
            if *lost && *tenant_uid != document.tenant_uid {
                return Decision::Refuse(Refusal::OtherKeyring);
            }
            epoch = epoch.max(*seal_epoch);
        }
        Existing::Keys(record) => {
            let stored = record.keyring.as_ref();
            if record.tenant_uid != document.tenant_uid {
                return Decision::Refuse(Refusal::OtherKeyring);
            }
            if let Some(stored) = stored.filter(|stored| stored.follows(&document.keyring)) {
                let foreign = record.namespace_uid != namespace_uid;
                let mended = stored.mended(&document.keyring);
                match mended.filter(|_| replace_damaged && !foreign) {
                    Some(mended) => keyring = mended,
                    None => return Decision::Unchanged { foreign },
                }
            } else if !stored.is_none_or(|stored| document.keyring.follows(stored)) {
                return Decision::Refuse(Refusal::Diverged);
            }
            epoch = epoch.max(record.seal_epoch);
        }
    }
    // Sessions of before, wherever they were given, do not live on.
    Decision::Write(Box::new(Record::restored(
        tenant,
        &document.tenant_uid,
        namespace_uid,
        epoch.saturating_add(1),
        keyring,
    )))
}
