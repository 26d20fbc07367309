//! What a person writes: the spec of a `TenantKms`. Every field is optional that has a sensible
//! meaning when absent, and nothing is defaulted here (GitOps would fight over it): effective
//! values stand in status.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::TenantKmsStatus;

/// One tenant's relation to the key it brought.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tenantkms.dev",
    version = "v1alpha1",
    kind = "TenantKms",
    plural = "tenantkmses",
    shortname = "tkms",
    category = "byok",
    namespaced,
    status = "TenantKmsStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct TenantKmsSpec {
    /// Who keeps the key: azure, aws, gcp or local.
    pub provider: ProviderKind,
    /// The key, as the provider writes it: `https://NAME.vault.azure.net/keys/KEY` for Azure.
    pub kms_key_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcp: Option<GcpSpec>,
    /// How often the key is proved, and how long a proof may be relied on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifySpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key: Option<MasterKeySpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionSpec>,
    /// What becomes of the wrapped keys when this object is deleted. Absent means Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// The platform's emergency stop: no cloud calls, no sessions, keys wiped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    Azure,
    Aws,
    Gcp,
    Local,
}

impl ProviderKind {
    pub const ALL: [Self; 4] = [Self::Azure, Self::Aws, Self::Gcp, Self::Local];

    /// The name used in specs and as a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Local => "local",
        }
    }
}

/// Which Azure identity is used. Without any credential field: the operator's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureSpec {
    /// The origin of `kmsKeyRef`, for readers; refused when it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_url: Option<String>,
    /// The customer's directory (Entra tenant) id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The application (client) id in that directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentity>,
    /// A `ServiceAccount` of the same namespace whose token is exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// Where a client secret is read from when it is used. Never the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// A variable of the operator's environment or a file of its secret directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_var: Option<String>,
    /// A Secret of the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The day the secret expires (`YYYY-MM-DD`), to be warned before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    pub name: String,
    pub key: String,
}

/// A user-assigned managed identity of the node, named by exactly one of its ids. The empty
/// object means the system-assigned one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedIdentity {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSpec {
    /// Must be the region of the key's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// Only where the operator's policy allows an own value; issued by the operator otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonate_service_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_identity_provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifySpec {
    /// Time between checks, 5s to half of proofTTL. Absent means 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// How long a proof may be relied on, 1m to 5m. Absent means 5m.
    #[serde(rename = "proofTTL", skip_serializing_if = "Option::is_none")]
    pub proof_ttl: Option<String>,
    /// A longer interval for tenants nobody uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_interval: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterKeySpec {
    /// At least 24h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_interval: Option<String>,
    /// Ids of master-key versions to destroy for ever. Ids are only ever added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased_ids: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionSpec {
    /// At most 5m for a key the customer brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    Retain,
    Erase,
}

impl TenantKmsSpec {
    /// The shortest valid spec: the operator's own identity on a key.
    pub fn new(provider: ProviderKind, kms_key_ref: impl Into<String>) -> Self {
        Self {
            provider,
            kms_key_ref: kms_key_ref.into(),
            azure: None,
            aws: None,
            gcp: None,
            verify: None,
            master_key: None,
            session: None,
            deletion_policy: None,
            suspend: None,
        }
    }

    /// The part that a proof is about: the same spec without the emergency stop.
    #[must_use]
    pub fn verifiable(&self) -> Self {
        Self {
            suspend: None,
            ..self.clone()
        }
    }

    pub fn is_suspended(&self) -> bool {
        self.suspend == Some(true)
    }
}
