//! Every check of an Azure spec that needs no network: the key's URL, the policy, the credential's
//! fields. A plan exists only when all of them passed, and only a plan becomes a client.

use std::sync::Arc;

use super::choose::{Choice, Grant, Means, choose};
use super::credential::Credential;
use super::federation::Own;
use super::keyref::KeyRef;
use super::kms::AzureKms;
use super::source::{Application, SecretPlace, Source, TokenPlace};
use super::subject::{Subject, Who};
use super::transport::Transport;
use crate::api::{AzureSpec, Reason, TenantKmsSpec};
use crate::credentials::{Cluster, SecretSource};
use crate::policy::{AllowedVariable, Policy};
use crate::provider::{Failure, Kms, TenantId};

/// A checked spec.
#[derive(Debug)]
pub struct Plan {
    tenant: TenantId,
    key: KeyRef,
    subject: Subject,
    means: Means,
}

/// Checks in this order: key, endpoint, credential's fields, policy.
pub fn plan(
    tenant: &TenantId,
    spec: &TenantKmsSpec,
    policy: &Policy,
    own: &Own,
    transport: &Transport,
) -> Result<Plan, Failure> {
    let none = AzureSpec::default();
    let azure = spec.azure.as_deref().unwrap_or(&none);
    let suffixes = policy.endpoint_suffixes();
    let key = KeyRef::parse(&spec.kms_key_ref, suffixes, transport.authority())?;
    key.check_vault_url(azure)?;
    let Choice { who, means, grant } = choose(tenant, azure, policy, own)?;
    own_identity_allowed(tenant, &key, policy, grant)?;
    Ok(Plan {
        tenant: tenant.clone(),
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
        means,
    })
}

impl Plan {
    /// The variable whose value the credential needs, if it needs one.
    pub fn variable(&self) -> Option<&AllowedVariable> {
        match &self.means {
            Means::Variable(variable) => Some(variable),
            _ => None,
        }
    }

    /// A client, after the credential was found to be there. Nothing is sent to any cloud.
    pub async fn client(
        self,
        transport: &Transport,
        secrets: &SecretSource,
        cluster: &Cluster,
    ) -> Result<Arc<dyn Kms>, Failure> {
        let source = match (&self.subject.who, self.means) {
            (Who::ManagedIdentity(selector), _) => Source::ManagedIdentity(selector.clone()),
            (
                Who::Application {
                    directory, client, ..
                },
                means,
            ) => {
                let application = Application {
                    authority: self.key.endpoint.authority.clone(),
                    directory: directory.clone(),
                    client: client.clone(),
                };
                let (cluster, tenant) = (cluster.clone(), self.tenant);
                match means {
                    Means::Variable(variable) => {
                        let place = SecretPlace::Variable(variable, secrets.clone());
                        Source::ClientSecret(application, place)
                    }
                    Means::SecretRef { name, key } => {
                        let place = SecretPlace::Lent {
                            cluster,
                            tenant,
                            name,
                            key,
                        };
                        Source::ClientSecret(application, place)
                    }
                    Means::OwnToken(path) => Source::Federated(application, TokenPlace::File(path)),
                    Means::ServiceAccount(name) => {
                        let place = TokenPlace::Lent {
                            cluster,
                            tenant,
                            name,
                        };
                        Source::Federated(application, place)
                    }
                    Means::ManagedIdentity(selector) => Source::ManagedIdentity(selector),
                }
            }
        };
        source.check().await?;
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

fn own_identity_allowed(
    tenant: &TenantId,
    key: &KeyRef,
    policy: &Policy,
    grant: Grant,
) -> Result<(), Failure> {
    if grant == Grant::None {
        return Ok(());
    }
    if !key.endpoint.own {
        return Err(Failure::denial(
            Reason::EndpointNotAllowed,
            "the host of spec.kmsKeyRef is one that the platform added, and there the operator's \
             own identity is never used. Give the tenant a credential of its own: kubectl explain \
             tenantkms.spec.azure.clientSecret",
        ));
    }
    let exactly = grant == Grant::OwnIdentityExactly;
    let what = if exactly {
        "the operator's own token for an application that it names, and"
    } else {
        "the operator's own identity for"
    };
    policy.lends_own_identity(tenant, &key.id, exactly, what)
}
