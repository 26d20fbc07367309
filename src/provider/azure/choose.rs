//! Which credential the fields of a spec name, and what the platform must have granted for it. Two
//! credentials in one spec are none; there is no fallback from one to another.

use std::path::PathBuf;

use super::federation::Own;
use super::is_guid;
use super::subject::{Proof, Selector, Who};
use crate::api::{AzureSpec, ClientSecret, ManagedIdentity, Reason};
use crate::credentials::AzureIdentity;
use crate::policy::pattern::is_dns_name;
use crate::policy::{AllowedVariable, Policy};
use crate::provider::{Failure, TenantId};

/// Who it is, and what it proves that with.
#[derive(Debug)]
pub struct Choice {
    pub who: Who,
    pub means: Means,
    pub grant: Grant,
}

#[derive(Debug)]
pub enum Means {
    Variable(AllowedVariable),
    SecretRef { name: String, key: String },
    OwnToken(PathBuf),
    ServiceAccount(String),
    ManagedIdentity(Selector),
}

/// What `operatorIdentity.allow` must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing: the credential is the tenant's own.
    None,
    /// The operator's identity for this key.
    OwnIdentity,
    /// The same, by a grant without `*`: the tenant chooses whose application the operator becomes.
    OwnIdentityExactly,
}

pub fn choose(
    tenant: &TenantId,
    azure: &AzureSpec,
    policy: &Policy,
    own: &Own,
) -> Result<Choice, Failure> {
    let application = azure.tenant_id.is_some() || azure.client_id.is_some();
    match (
        &azure.client_secret,
        &azure.managed_identity,
        &azure.service_account_name,
    ) {
        (Some(secret), None, None) => client_secret(tenant, azure, secret, policy),
        (None, Some(identity), None) if !application => Ok(managed(selector(identity)?)),
        (None, None, Some(name)) => service_account(tenant, azure, name),
        (None, None, None) if application => own_token(azure, own),
        (None, None, None) => own_identity(own),
        _ => Err(incomplete()),
    }
}

fn application(azure: &AzureSpec) -> Result<(String, String), Failure> {
    match (&azure.tenant_id, &azure.client_id) {
        (Some(directory), Some(client)) => Ok((guid(directory)?, guid(client)?)),
        _ => Err(incomplete()),
    }
}

fn client_secret(
    tenant: &TenantId,
    azure: &AzureSpec,
    secret: &ClientSecret,
    policy: &Policy,
) -> Result<Choice, Failure> {
    let (directory, client) = application(azure)?;
    let (proof, means) = match (&secret.env_var, &secret.secret_ref) {
        (Some(name), None) => {
            let variable = policy.variable(tenant, name)?;
            let proof = Proof::Variable(variable.name().to_owned());
            (proof, Means::Variable(variable))
        }
        (None, Some(from)) => {
            let (name, key) = (from.name.clone(), from.key.clone());
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if !is_dns_name(&name) || !(1..=253).contains(&key.len()) || !key.bytes().all(plain) {
                return Err(no_name(
                    Reason::SecretNotFound,
                    "spec.azure.clientSecret.secretRef",
                    "secrets",
                ));
            }
            let proof = Proof::Secret(format!("{}/{name}", tenant.namespace));
            (proof, Means::SecretRef { name, key })
        }
        _ => return Err(incomplete()),
    };
    Ok(Choice {
        who: Who::Application {
            directory,
            client,
            proof,
        },
        means,
        grant: Grant::None,
    })
}

fn service_account(tenant: &TenantId, azure: &AzureSpec, name: &str) -> Result<Choice, Failure> {
    let (directory, client) = application(azure)?;
    if !is_dns_name(name) {
        return Err(no_name(
            Reason::IdentityUnavailable,
            "spec.azure.serviceAccountName",
            "serviceaccounts",
        ));
    }
    Ok(Choice {
        who: Who::Application {
            directory,
            client,
            proof: Proof::ServiceAccount(format!("{}/{name}", tenant.namespace)),
        },
        means: Means::ServiceAccount(name.to_owned()),
        grant: Grant::None,
    })
}

/// The operator's token, for an application that the tenant names.
fn own_token(azure: &AzureSpec, own: &Own) -> Result<Choice, Failure> {
    let (directory, client) = application(azure)?;
    if own.identity == AzureIdentity::ManagedIdentity {
        return Err(Failure::misconfigured(
            Reason::IdentityUnavailable,
            format!(
                "spec.azure names application {client} of directory {directory} without a \
                 credential, and the operator's own identity is managed identity, which reaches \
                 only its own directory. Nothing was sent. Add serviceAccountName or clientSecret, \
                 or let the platform give the operator workload identity: az aks update \
                 --resource-group '<group>' --name '<cluster>' --enable-oidc-issuer \
                 --enable-workload-identity"
            ),
        ));
    }
    Ok(Choice {
        who: Who::Application {
            directory,
            client,
            proof: Proof::OwnToken,
        },
        means: Means::OwnToken(own.token_file()?),
        grant: Grant::OwnIdentityExactly,
    })
}

fn own_identity(own: &Own) -> Result<Choice, Failure> {
    if own.identity == AzureIdentity::ManagedIdentity {
        return Ok(managed(Selector::SystemAssigned));
    }
    let token_file = own.token_file()?;
    let (directory, client) = own.application()?;
    Ok(Choice {
        who: Who::Application {
            directory,
            client,
            proof: Proof::OwnIdentity,
        },
        means: Means::OwnToken(token_file),
        grant: Grant::OwnIdentity,
    })
}

fn managed(selector: Selector) -> Choice {
    Choice {
        who: Who::ManagedIdentity(selector.clone()),
        means: Means::ManagedIdentity(selector),
        grant: Grant::OwnIdentity,
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

/// What stands there may be a secret that was pasted, so it is not repeated.
fn no_name(reason: Reason, field: &str, resource: &str) -> Failure {
    Failure::misconfigured(
        reason,
        format!(
            "{field} does not hold the name of an object of the same namespace. Write a name as \
             printed by: kubectl get {resource} --namespace '<namespace>'"
        ),
    )
}

fn incomplete() -> Failure {
    Failure::misconfigured(
        Reason::CredentialNotFound,
        "spec.azure names no whole credential, or more than one. Set tenantId and clientId \
         together, with clientSecret, with serviceAccountName, or alone for the operator's token; \
         or managedIdentity alone; or nothing for the operator's own identity: kubectl explain \
         tenantkms.spec.azure",
    )
}
