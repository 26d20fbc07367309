//! Specs for customers that no example knows: one for each cloud and way of being known there.

use serde_json::{Value, json};

use super::{Cloud, number};

/// What a customer knows the platform by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The operator's own: a managed identity, an instance's role, a machine's service account.
    Own,
    /// What the customer gives it: a client secret, a role with an external id, a service account that is
    /// impersonated.
    Given,
    /// A token of the tenant's own `ServiceAccount`, `NAME-kms`.
    ServiceAccount,
}

impl Identity {
    pub const ALL: [Self; 3] = [Self::Own, Self::Given, Self::ServiceAccount];

    pub const fn name(self, cloud: Cloud) -> &'static str {
        match (self, cloud) {
            (Self::Own, Cloud::Azure) => "managed identity",
            (Self::Own, Cloud::Aws) => "instance profile",
            (Self::Own, Cloud::Gcp) => "metadata server",
            (Self::Given, Cloud::Azure) => "client secret",
            (Self::Given, Cloud::Aws) => "role with external id",
            (Self::Given, Cloud::Gcp) => "impersonation",
            (Self::ServiceAccount, Cloud::Azure) => "federated ServiceAccount",
            (Self::ServiceAccount, Cloud::Aws) => "ServiceAccount's role",
            (Self::ServiceAccount, Cloud::Gcp) => "workload identity federation",
        }
    }
}

/// As in examples/azure-client-secret.
pub(super) const VARIABLE: &str = "AZURE_KC_CLIENT_SECRET";
const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
const REGION: &str = "eu-central-1";

pub(super) fn manifest(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "tenantkms.dev/v1alpha1", "kind": "TenantKms",
        "metadata": { "name": name }, "spec": spec,
    })
}

/// Names that are nobody else's, made of those of the tenant.
pub(super) fn spec(cloud: Cloud, namespace: &str, name: &str, identity: Identity) -> Value {
    let number = number(&format!("{namespace}/{name}"));
    let account = format!("{name}-kms");
    match cloud {
        Cloud::Azure => {
            let client = format!("11112222-3333-4444-5555-{number:012x}");
            let block = match identity {
                Identity::Own => Value::Null,
                Identity::Given => json!({ "tenantId": DIRECTORY, "clientId": client,
                    "clientSecret": { "envVar": VARIABLE } }),
                Identity::ServiceAccount => json!({ "tenantId": DIRECTORY, "clientId": client,
                    "serviceAccountName": account }),
            };
            let key = format!("https://{name}-kv.vault.azure.net/keys/tenant-wrapping-key");
            whole(json!({ "provider": "azure", "kmsKeyRef": key, "azure": block }))
        }
        Cloud::Aws => {
            let key = format!(
                "arn:aws:kms:{REGION}:444455556666:key/1234abcd-12ab-34cd-56ef-{number:012x}"
            );
            let role = format!("arn:aws:iam::444455556666:role/{name}-kms");
            let block = match identity {
                Identity::Own => Value::Null,
                Identity::Given => json!({ "roleArn": role }),
                Identity::ServiceAccount => {
                    json!({ "roleArn": role, "serviceAccountName": account })
                }
            };
            whole(json!({ "provider": "aws", "kmsKeyRef": key, "aws": block }))
        }
        Cloud::Gcp => {
            let project = format!("{name}-prod");
            let key = format!(
                "projects/{project}/locations/europe-west3/keyRings/platform/cryptoKeys/tenant"
            );
            let provider = format!(
                "projects/{}/locations/global/workloadIdentityPools/tenant-kms/providers/platform",
                100_000_000_000 + number % 100_000_000_000
            );
            let block = match identity {
                Identity::Own => Value::Null,
                Identity::Given => json!({
                    "impersonateServiceAccount": format!("tenant-kms@{project}.iam.gserviceaccount.com"),
                }),
                Identity::ServiceAccount => {
                    json!({ "workloadIdentityProvider": provider, "serviceAccountName": account })
                }
            };
            whole(json!({ "provider": "gcp", "kmsKeyRef": key, "gcp": block }))
        }
    }
}

/// Without a block that says nothing.
fn whole(mut spec: Value) -> Value {
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_customer_has_a_key_of_its_own() {
        let mut keys = std::collections::BTreeSet::new();
        for cloud in Cloud::ALL {
            for name in ["acme", "acme-2", "birch"] {
                for identity in Identity::ALL {
                    let spec = spec(cloud, "tenants", name, identity);
                    assert_eq!(spec["provider"], cloud.name());
                    assert_eq!(
                        spec.get(cloud.name()).is_none(),
                        identity == Identity::Own,
                        "{spec}"
                    );
                }
                let spec = spec(cloud, "tenants", name, Identity::Given);
                assert!(keys.insert(spec["kmsKeyRef"].to_string()), "{spec}");
            }
        }
    }
}
