//! The file that `keyring export` writes: a tenant's master keys as they are on record, wrapped by the
//! customer's key and never in the clear. What is damaged, of a newer version or something else is
//! refused whole, and no refusal repeats what it read.

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::provider::TenantId;
use crate::random::{decode_hex, encode_hex};
use crate::record::Record;
use crate::record::keyring::Keyring;

const GROUP: &str = "tenantkms.dev/";
const API_VERSION: &str = "tenantkms.dev/v1alpha1";
const KIND: &str = "TenantKmsKeyring";
const DIGEST: &str = "sha256";
/// A record has to fit into a Secret, and so has what is made of it.
pub const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    api_version: String,
    kind: String,
    /// `namespace/name`, where it was exported.
    pub tenant: String,
    pub tenant_uid: String,
    pub seal_epoch: u64,
    pub keyring: Keyring,
    pub exported_at: Timestamp,
}

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this is no file of `tenant-kms keyring export`")]
    Foreign,
    #[error(
        "this file was written by a newer tenant-kms. Use that version, or export again with this \
         one"
    )]
    TooNew,
    #[error(
        "this file is damaged or was edited, and nothing of it is used. Take another copy; `jq \
         -cjS 'del(.sha256)' FILE | sha256sum` prints what its sha256 has to be"
    )]
    Damaged,
}

impl Document {
    /// None when the record has no master keys.
    pub fn of(record: &Record, now: Timestamp) -> Option<Self> {
        Some(Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            tenant: record.tenant.clone(),
            tenant_uid: record.tenant_uid.clone(),
            seal_epoch: record.seal_epoch,
            keyring: record.keyring.clone()?,
            exported_at: now,
        })
    }

    /// The text of the file, with its digest.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        value[DIGEST] = digest_of(&value).into();
        Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let mut value: Value = serde_json::from_slice(bytes).map_err(|_| Refused::Damaged)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        if text("kind") != KIND || !text("apiVersion").starts_with(GROUP) {
            return Err(Refused::Foreign);
        }
        if text("apiVersion") != API_VERSION {
            return Err(Refused::TooNew);
        }
        let digest = value.as_object_mut().and_then(|all| all.remove(DIGEST));
        if digest != Some(digest_of(&value).into()) {
            return Err(Refused::Damaged);
        }
        let document: Self = serde_json::from_value(value).map_err(|_| Refused::Damaged)?;
        let whole = document.keyring.is_sound()
            && decode_hex::<16>(&document.tenant_uid).is_some()
            && document.origin().is_some();
        whole.then_some(document).ok_or(Refused::Damaged)
    }

    /// The tenant as it was called where it was exported.
    pub fn origin(&self) -> Option<TenantId> {
        let (namespace, name) = self.tenant.split_once('/')?;
        Some(TenantId::new(namespace, name))
    }
}

/// SHA-256 in hex of the compact JSON with sorted keys: what `jq -cjS` prints.
pub fn digest_of(value: &Value) -> String {
    let bytes = value.to_string();
    encode_hex(digest::digest(&digest::SHA256, bytes.as_bytes()).as_ref())
}
