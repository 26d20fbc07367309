//! What the operator reports. A report, never an input: nothing here is ever read to decide, and
//! nothing that others wrote into it may keep the object itself from being read.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::condition::{Aspect, Condition, word};

/// What the operator last reported: never an input, and written again when changed by others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantKmsStatus {
    /// The newest generation of the spec that was decided; -1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pending, Active, Sealed or Suspended.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "word"
    )]
    pub phase: Option<Phase>,
    /// `Ready`, `Active`, `Sealed`, `ConfigAccepted`, `Reconciling`, `Stalled` and `KeyAtRisk`.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "conditions"
    )]
    #[schemars(
        with = "Vec<v1::Condition>",
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// When the tenant was sealed; absent while it is not.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "time"
    )]
    pub sealed_since: Option<Time>,
    /// The last success at the time of the last change; exact times are in the metrics.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "time"
    )]
    pub last_verified_time: Option<Time>,
    /// Why the last attempt failed; absent after a success.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "verify_error"
    )]
    pub last_verify_error: Option<Box<VerifyError>>,
    /// The credential that was really used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The version of the customer's key that wrapped last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_version: Option<String>,
    /// The newest ten master keys, newest first. What they are wrapped by is `kekVersion`.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "master_keys"
    )]
    #[schemars(length(max = 10))]
    pub master_keys: Vec<MasterKeyStatus>,
    /// The values in force, defaults included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
    /// What the trust policy of `spec.aws.roleArn` must ask for as `sts:ExternalId`: this tenant's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The newest value of each request annotation that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled_requests: Option<Box<HandledRequests>>,
}

impl TenantKmsStatus {
    pub fn condition(&self, aspect: Aspect) -> Option<&Condition> {
        let about = |one: &&Condition| one.type_ == Some(aspect);
        self.conditions.iter().find(about)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    Pending,
    Active,
    Sealed,
    Suspended,
}

impl Phase {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Sealed, Self::Suspended];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Sealed => "Sealed",
            Self::Suspended => "Suspended",
        }
    }
}

/// The last failed attempt. `message` is the operator's own text; `code` and `requestId` come
/// from the cloud and are kept only when they match `[A-Za-z0-9._:-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyError {
    /// One of the closed set of reasons; `tenant-kms explain REASON` tells more.
    pub reason: String,
    /// What happened, what to check, and the command that fixes it.
    pub message: String,
    /// The cloud's own error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The cloud's id of the refused request, for its support.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When the answer came.
    pub time: Time,
}

/// One version of the tenant's master key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterKeyStatus {
    /// Its name in ciphertexts and in `spec.masterKey.erasedIds`.
    pub id: String,
    /// 1, 2, 3, … in the order they were made.
    pub version: u32,
    /// active, retired or erased.
    pub state: String,
    /// When it was made.
    pub created_time: Time,
    /// When another took its place; absent while it is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_time: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// Time between checks.
    pub interval: String,
    /// How long a proof is relied on.
    #[serde(rename = "proofTTL")]
    pub proof_ttl: String,
    /// What becomes of the wrapped keys when the object is deleted.
    pub deletion_policy: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandledRequests {
    /// Of `tenantkms.dev/verify-requested-at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_requested_at: Option<String>,
    /// Of `tenantkms.dev/unseal-requested-at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseal_requested_at: Option<String>,
    /// Of `tenantkms.dev/rotate-requested-at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_requested_at: Option<String>,
}

/// The API server takes times for valid that no clock shows, such as an offset of 99 hours. What
/// cannot be read becomes what the operator never says, so that it is written over.
const UNREADABLE: Time = Time(Timestamp::MIN);

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.map(|value| serde_json::from_value(value).unwrap_or(UNREADABLE)))
}

fn conditions<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Condition>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.map_or_else(Vec::new, |value| {
        serde_json::from_value(value).unwrap_or_else(|_| {
            vec![Condition {
                type_: None,
                status: None,
                reason: None,
                message: "".into(),
                observed_generation: None,
                last_transition_time: UNREADABLE,
            }]
        })
    }))
}

/// What cannot be read is none of ours, and is written over.
fn master_keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<MasterKeyStatus>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.map_or_else(Vec::new, |value| {
        serde_json::from_value(value).unwrap_or_else(|_| {
            vec![MasterKeyStatus {
                id: String::new(),
                version: 0,
                state: String::new(),
                created_time: UNREADABLE,
                retired_time: None,
            }]
        })
    }))
}

fn verify_error<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<VerifyError>>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.map(|value| {
        serde_json::from_value(value).unwrap_or_else(|_| {
            Box::new(VerifyError {
                reason: String::new(),
                message: String::new(),
                code: None,
                request_id: None,
                time: UNREADABLE,
            })
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unreadable_status_does_not_hide_the_object_and_differs_from_every_report() {
        let odd = "2024-01-01T00:00:00+99:99";
        let status: TenantKmsStatus = serde_json::from_value(json!({
            "phase": "Active", "sealedSince": odd, "lastVerifiedTime": odd,
            "lastVerifyError": { "reason": "x", "message": "x", "time": odd },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "x", "message": "x",
                             "lastTransitionTime": odd }],
        }))
        .expect("readable");
        assert_eq!(status.phase, Some(Phase::Active));
        assert_eq!(status.sealed_since, Some(UNREADABLE));
        assert_eq!(status.last_verified_time, Some(UNREADABLE));
        assert_eq!(
            status.last_verify_error.map(|one| one.reason),
            Some(String::new())
        );
        assert_eq!(status.conditions[0].type_, None);
        let absent: TenantKmsStatus = serde_json::from_value(json!({})).expect("readable");
        assert_eq!(absent, TenantKmsStatus::default());
    }
}
