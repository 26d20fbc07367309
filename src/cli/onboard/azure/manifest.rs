//! The manifest to apply: the types' own form, so that it cannot drift from what the API takes.

use serde_json::{Value, json};

use super::{Plan, SecretPlace, Who};
use crate::api::{
    AzureSpec, ClientSecret, ManagedIdentity, ProviderKind, SecretRef, TenantKmsSpec,
};
use crate::cli::onboard::manifest;

/// Under which a lent Secret holds the client secret.
pub const SECRET_KEY: &str = "client-secret";

/// A `TenantKms`, and before it the `ServiceAccount` that is the tenant's own.
pub fn yaml(plan: &Plan) -> Result<String, String> {
    let lent = match &plan.who {
        Who::Federated { lent, .. } => lent.as_deref(),
        _ => None,
    };
    manifest(&plan.tenant, lent, &spec(plan))
}

fn spec(plan: &Plan) -> Value {
    let client = Some(plan.client.clone());
    let azure = match &plan.who {
        Who::Own { managed: false } => None,
        Who::Own { managed: true } => Some(AzureSpec {
            managed_identity: Some(ManagedIdentity {
                client_id: client,
                ..ManagedIdentity::default()
            }),
            ..AzureSpec::default()
        }),
        Who::Secret { directory, place } => Some(AzureSpec {
            tenant_id: Some(directory.clone()),
            client_id: client,
            client_secret: Some(match place {
                SecretPlace::Variable(name) => ClientSecret {
                    env_var: Some(name.clone()),
                    ..ClientSecret::default()
                },
                SecretPlace::Lent(name) => ClientSecret {
                    secret_ref: Some(SecretRef {
                        name: name.clone(),
                        key: SECRET_KEY.to_owned(),
                    }),
                    ..ClientSecret::default()
                },
            }),
            ..AzureSpec::default()
        }),
        Who::Federated {
            directory, lent, ..
        } => Some(AzureSpec {
            tenant_id: Some(directory.clone()),
            client_id: client,
            service_account_name: lent.clone(),
            ..AzureSpec::default()
        }),
    };
    json!(TenantKmsSpec {
        azure: azure.map(Box::new),
        ..TenantKmsSpec::new(ProviderKind::Azure, &plan.key_url)
    })
}
