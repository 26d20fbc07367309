//! What the operator reports. A report, never an input: nothing here is ever read to decide.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantKmsStatus {
    /// The newest generation of the spec that was decided; -1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed_since: Option<Time>,
    /// The last success at the time of the last change; exact times are in the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_verified_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_verify_error: Option<VerifyError>,
    /// The credential that was really used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The version of the customer's key that wrapped last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_version: Option<String>,
    /// The values in force, defaults included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
    /// The newest value of each request annotation that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled_requests: Option<HandledRequests>,
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
    pub reason: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    pub time: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    pub interval: String,
    #[serde(rename = "proofTTL")]
    pub proof_ttl: String,
    pub deletion_policy: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandledRequests {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_requested_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseal_requested_at: Option<String>,
}
