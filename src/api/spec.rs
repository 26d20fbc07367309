//! What a person writes: the spec of a `TenantKms`. Every field is optional that has a sensible
//! meaning when absent, and nothing is defaulted here (`GitOps` would fight over it): effective
//! values stand in status.

use std::time::Duration;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::parse_duration;
use super::status::TenantKmsStatus;

const SHORTEST_ROTATION: Duration = Duration::from_hours(24);

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
    doc = "The key one tenant brought: proved continuously, sealed when its owner says no.",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct TenantKmsSpec {
    /// Who keeps the key: azure, aws, gcp or local.
    pub provider: ProviderKind,
    /// The customer's key, as the provider writes it. azure:
    /// `https://NAME.vault.azure.net/keys/KEY[/VERSION]`; aws: the ARN of a key or an alias; gcp:
    /// `projects/P/locations/L/keyRings/R/cryptoKeys/K`; local: `local://NAME`.
    pub kms_key_ref: String,
    /// Which identity reaches the key in Azure. Absent means the operator's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<Box<AzureSpec>>,
    /// Which role reaches the key in AWS. Absent means the operator's own identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<Box<AwsSpec>>,
    /// Which service account reaches the key in GCP. Absent means the operator's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcp: Option<Box<GcpSpec>>,
    /// How often the key is proved, and how long a proof may be relied on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Box<VerifySpec>>,
    /// The tenant's master key, which the customer's key wraps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key: Option<Box<MasterKeySpec>>,
    /// The sessions handed to workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<SessionSpec>>,
    /// What becomes of the wrapped keys when this object is deleted: Retain or Erase. Absent
    /// means Retain.
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
    /// The vault of `kmsKeyRef` (`https://NAME.vault.azure.net`), for readers; refused when it
    /// differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_url: Option<String>,
    /// The customer's directory (Entra tenant) id, a GUID. Goes with `clientId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The application (client) id in that directory, a GUID. Without `clientSecret` the
    /// application must trust the operator's identity or that of `serviceAccountName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Where the application's client secret is read from. Never the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,
    /// A managed identity of the node instead of an application; `{}` is the system-assigned one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentity>,
    /// A `ServiceAccount` of the same namespace whose token is exchanged for the application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// Where a client secret is read from when it is used. Never the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// The NAME of a variable of the operator's environment or of a file of its secret directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_var: Option<String>,
    /// A Secret of the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The day the secret expires (`YYYY-MM-DD`), for people who read this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
    /// Key within the Secret's data.
    pub key: String,
}

/// A user-assigned managed identity of the node, named by exactly one of its ids. The empty
/// object means the system-assigned one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedIdentity {
    /// Its client id, a GUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its object (principal) id, a GUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// Its resource id: `/subscriptions/…/userAssignedIdentities/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSpec {
    /// Must be the region of the key's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The customer's role that is assumed to use the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The id in status.externalId. Only `tenant-kms verify -f` needs it here; the operator refuses
    /// any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// A `ServiceAccount` of the same namespace that assumes the role with its own token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpSpec {
    /// The customer's service account that is impersonated, as an e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonate_service_account: Option<String>,
    /// The project that is billed for the calls. Absent means that of the identity that calls. With the
    /// operator's own identity the key's project alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// The customer's provider that trusts this cluster:
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME`. Goes with
    /// `serviceAccountName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_identity_provider: Option<String>,
    /// A `ServiceAccount` of the same namespace whose token is exchanged there.
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
    /// A longer interval for tenants nobody uses; at least `interval`. Taken, and not used yet: every tenant
    /// is checked each `interval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_interval: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterKeySpec {
    /// Time between rotations of the master key, at least 24h. Absent means never by time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_interval: Option<String>,
    /// Ids (32 hexadecimal digits) of master-key versions to destroy for ever. Ids are only ever
    /// added, never taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased_ids: Vec<String>,
    /// An existing key of 32 bytes that the customer's key has wrapped already: it becomes the
    /// first version. Read once, while the tenant has no master key; ignored afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_from: Option<ImportFrom>,
}

/// Where a wrapped key is read from, and how it was wrapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportFrom {
    /// A Secret of the same namespace with the wrapped key: its bytes, or base64 or base64url of
    /// them.
    pub secret_ref: SecretRef,
    /// How it was wrapped, in the provider's words; azure: RSA-OAEP-256 or RSA-OAEP.
    pub algorithm: String,
    /// The version of the customer's key that wrapped it. Absent means the version of `kmsKeyRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_version: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionSpec {
    /// How long a session lasts, at least 1m and at most 5m (longer for local). Absent means 5m,
    /// for local 1h.
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

    /// The part that a proof is about: what holds without asking the key is left out.
    #[must_use]
    pub fn verifiable(&self) -> Self {
        Self {
            suspend: None,
            master_key: None,
            deletion_policy: None,
            ..self.clone()
        }
    }

    /// The same while the tenant has no master key: the one that is taken over is proved too.
    #[must_use]
    pub fn beginning(&self) -> Self {
        let import = self.import_from().map(|from| {
            Box::new(MasterKeySpec {
                import_from: Some(from.clone()),
                ..MasterKeySpec::default()
            })
        });
        Self {
            master_key: import,
            ..self.verifiable()
        }
    }

    /// The key that is to be taken over as the first one.
    pub fn import_from(&self) -> Option<&ImportFrom> {
        self.master_key.as_ref()?.import_from.as_ref()
    }

    /// How old the active master key may become; at least a day, whatever the object says.
    pub fn rotation_interval(&self) -> Option<Duration> {
        let written = self.master_key.as_ref()?.rotation_interval.as_deref()?;
        parse_duration(written).map(|wanted| wanted.max(SHORTEST_ROTATION))
    }

    /// The ids of the master keys to be destroyed.
    pub fn erased_ids(&self) -> &[String] {
        self.master_key
            .as_ref()
            .map_or(&[], |keys| keys.erased_ids.as_slice())
    }

    /// Whether a role is assumed that must ask for the tenant's external id.
    pub fn has_external_id(&self) -> bool {
        self.aws
            .as_ref()
            .is_some_and(|aws| aws.role_arn.is_some() && aws.service_account_name.is_none())
    }

    pub fn is_suspended(&self) -> bool {
        self.suspend == Some(true)
    }
}
