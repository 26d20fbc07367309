//! Every check of an Azure spec that needs no network: the key's URL, the policy, the credential's
//! fields. A plan exists only when all of them passed, and only a plan becomes a client.

use std::sync::Arc;

use super::credential::Credential;
use super::is_guid;
use super::keyref::KeyRef;
use super::kms::AzureKms;
use super::subject::{Selector, Subject, Who, quoted};
use super::token::Source;
use super::transport::Transport;
use crate::api::{AzureSpec, ManagedIdentity, Reason, TenantKmsSpec};
use crate::credentials::{AzureIdentity, SecretSource};
use crate::policy::{AllowedVariable, Policy};
use crate::provider::{Failure, Kms, TenantId};

/// A checked spec.
#[derive(Debug)]
pub struct Plan {
    key: KeyRef,
    subject: Subject,
    variable: Option<AllowedVariable>,
}

/// Checks in this order: key, endpoint, credential's fields, policy.
pub fn plan(
    tenant: &TenantId,
    spec: &TenantKmsSpec,
    policy: &Policy,
    own: AzureIdentity,
    transport: &Transport,
) -> Result<Plan, Failure> {
    let none = AzureSpec::default();
    let azure = spec.azure.as_ref().unwrap_or(&none);
    let suffixes = policy.endpoint_suffixes();
    let key = KeyRef::parse(&spec.kms_key_ref, suffixes, transport.authority())?;
    key.check_vault_url(azure)?;
    let (who, variable) = credential(tenant, azure, policy, own)?;
    if let Who::ManagedIdentity(_) = who {
        own_identity_allowed(tenant, &key, policy)?;
    }
    Ok(Plan {
        subject: Subject {
            who,
            vault: key.vault().to_owned(),
            host: key.host.clone(),
            key: key.name.clone(),
            hsm: key.endpoint.hsm,
            authority: key
                .endpoint
                .authority
                .trim_start_matches("https://")
                .to_owned(),
        },
        key,
        variable,
    })
}

impl Plan {
    /// The variable whose value the credential needs, if it needs one.
    pub fn variable(&self) -> Option<&AllowedVariable> {
        self.variable.as_ref()
    }

    pub fn client(
        self,
        transport: &Transport,
        secrets: &SecretSource,
    ) -> Result<Arc<dyn Kms>, Failure> {
        let source = match (&self.subject.who, self.variable) {
            (
                Who::Application {
                    directory, client, ..
                },
                Some(variable),
            ) => Source::ClientSecret {
                variable,
                secrets: secrets.clone(),
                authority: self.key.endpoint.authority.clone(),
                directory: directory.clone(),
                client: client.clone(),
            },
            (Who::ManagedIdentity(selector), _) => Source::ManagedIdentity(selector.clone()),
            (Who::Application { .. }, None) => return Err(incomplete()),
        };
        let resource = self.key.endpoint.resource.clone();
        let credential = Credential::new(source, transport.clone(), resource, self.subject.clone());
        Ok(Arc::new(AzureKms::new(
            transport,
            credential,
            self.key,
            self.subject,
        )?))
    }
}

/// The credential that the fields name. Two credentials in one spec are none.
fn credential(
    tenant: &TenantId,
    azure: &AzureSpec,
    policy: &Policy,
    own: AzureIdentity,
) -> Result<(Who, Option<AllowedVariable>), Failure> {
    if azure.service_account_name.is_some() {
        return Err(not_built(
            "spec.azure.serviceAccountName is set, and this version of the operator cannot \
             exchange a ServiceAccount's token yet",
        ));
    }
    let application = azure.tenant_id.is_some() || azure.client_id.is_some();
    match (&azure.client_secret, &azure.managed_identity) {
        (Some(_), Some(_)) => Err(incomplete()),
        (None, Some(_)) if application => Err(incomplete()),
        (None, Some(identity)) => Ok((Who::ManagedIdentity(selector(identity)?), None)),
        (None, None) if application => Err(not_built(
            "spec.azure has tenantId and clientId without a client secret, and this version of \
             the operator cannot exchange its own token for that application yet",
        )),
        (None, None) => match own {
            AzureIdentity::ManagedIdentity => {
                Ok((Who::ManagedIdentity(Selector::SystemAssigned), None))
            }
            AzureIdentity::WorkloadIdentity => Err(not_built(
                "the operator's own identity in Azure is workload identity, which this version \
                 cannot use yet; with operatorIdentity.azure: managedIdentity in its \
                 configuration it uses the node's",
            )),
        },
        (Some(secret), None) => {
            let (Some(directory), Some(client)) = (&azure.tenant_id, &azure.client_id) else {
                return Err(incomplete());
            };
            let (directory, client) = (guid(directory)?, guid(client)?);
            match (&secret.env_var, &secret.secret_ref) {
                (Some(name), None) => {
                    let variable = policy.variable(tenant, name)?;
                    let who = Who::Application {
                        directory,
                        client,
                        variable: variable.name().to_owned(),
                    };
                    Ok((who, Some(variable)))
                }
                (None, Some(_)) => Err(Failure::misconfigured(
                    Reason::SecretNotFound,
                    "spec.azure.clientSecret.secretRef is set, and this version of the operator \
                     cannot read a Secret of the namespace yet. Use envVar with a variable that \
                     the platform allows: kubectl explain tenantkms.spec.azure.clientSecret",
                )),
                _ => Err(incomplete()),
            }
        }
    }
}

fn selector(identity: &ManagedIdentity) -> Result<Selector, Failure> {
    match (
        &identity.client_id,
        &identity.object_id,
        &identity.resource_id,
    ) {
        (None, None, None) => Ok(Selector::SystemAssigned),
        (Some(id), None, None) => Ok(Selector::ClientId(guid(id)?)),
        (None, Some(id), None) => Ok(Selector::ObjectId(guid(id)?)),
        (None, None, Some(id)) if is_resource_id(id) => Ok(Selector::ResourceId(id.clone())),
        _ => Err(Failure::misconfigured(
            Reason::CredentialNotFound,
            "spec.azure.managedIdentity must be empty or hold exactly one of clientId, objectId \
             and resourceId, each as printed by: az identity show --resource-group '<group>' \
             --name '<identity>'",
        )),
    }
}

fn own_identity_allowed(tenant: &TenantId, key: &KeyRef, policy: &Policy) -> Result<(), Failure> {
    if !key.endpoint.own {
        return Err(Failure::denial(
            Reason::EndpointNotAllowed,
            "the host of spec.kmsKeyRef is one that the platform added, and there the operator's \
             own identity is never used. Give the tenant a credential of its own: kubectl explain \
             tenantkms.spec.azure.clientSecret",
        ));
    }
    if policy.allows_own_identity(tenant, &key.id) {
        return Ok(());
    }
    Err(Failure::denial(
        Reason::NotAllowed,
        format!(
            "the operator's configuration does not let tenant {tenant} use the operator's own \
             identity for {}. Check operatorIdentity.allow: it needs tenants: [{}] and keys: \
             [{}], then: tenant-kms config check '<file>'",
            key.id,
            quoted(&tenant.to_string()),
            quoted(&key.id)
        ),
    ))
}

fn guid(text: &str) -> Result<String, Failure> {
    if is_guid(text) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Failure::misconfigured(
        Reason::CredentialNotFound,
        "an id in spec.azure is no GUID (8-4-4-4-12 hexadecimal digits). The ids of a directory \
         and an application are printed by: az ad sp list --display-name '<application>' --query \
         '[].{tenantId:appOwnerOrganizationId,clientId:appId}'",
    ))
}

/// `/subscriptions/…/userAssignedIdentities/NAME`, of characters that mean nothing to a shell.
fn is_resource_id(text: &str) -> bool {
    text.len() <= 512
        && text.to_ascii_lowercase().starts_with("/subscriptions/")
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/._-()".contains(&b))
}

fn incomplete() -> Failure {
    Failure::misconfigured(
        Reason::CredentialNotFound,
        "spec.azure names no whole credential, or more than one. Set tenantId, clientId and \
         clientSecret.envVar together, or managedIdentity alone, or nothing for the operator's \
         own identity: kubectl explain tenantkms.spec.azure",
    )
}

fn not_built(what: &str) -> Failure {
    Failure::misconfigured(
        Reason::IdentityUnavailable,
        format!(
            "{what}. Nothing was sent. Use a client secret or a managed identity until then: \
             kubectl explain tenantkms.spec.azure"
        ),
    )
}
