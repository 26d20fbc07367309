//! Where the proof of an application's identity comes from: read at the moment of use, checked
//! before anything is sent, given to one request and dropped.

use std::path::PathBuf;

use super::federation::{AUDIENCE, Assertion, unusable};
use super::subject::Selector;
use crate::credentials::{Cluster, Secret, SecretSource};
use crate::policy::AllowedVariable;
use crate::provider::{Failure, TenantId};

/// The application that tokens are for, and where they are bought.
#[derive(Clone, Debug)]
pub struct Application {
    /// `https://` and the authority's host.
    pub authority: String,
    pub directory: String,
    pub client: String,
}

/// What a tenant's tokens are bought with.
#[derive(Debug)]
pub enum Source {
    ClientSecret(Application, SecretPlace),
    Federated(Application, TokenPlace),
    ManagedIdentity(Selector),
}

#[derive(Debug)]
pub enum SecretPlace {
    Variable(AllowedVariable, SecretSource),
    /// A Secret of the tenant's namespace and the key in it.
    Lent {
        cluster: Cluster,
        tenant: TenantId,
        name: String,
        key: String,
    },
}

#[derive(Debug)]
pub enum TokenPlace {
    /// The projected token of the operator's own `ServiceAccount`.
    File(PathBuf),
    /// A `ServiceAccount` of the tenant's namespace.
    Lent {
        cluster: Cluster,
        tenant: TenantId,
        name: String,
    },
}

impl Source {
    /// Whether the credential can be had now. Asks the API server at most; nothing leaves.
    pub async fn check(&self) -> Result<(), Failure> {
        match self {
            Self::ClientSecret(_, place) => place.read().await.map(drop),
            Self::Federated(_, place) => place.read().await.map(drop),
            Self::ManagedIdentity(_) => Ok(()),
        }
    }
}

impl SecretPlace {
    // Boxed: the API server's future is large, and most tenants never need it.
    pub async fn read(&self) -> Result<Secret, Failure> {
        match self {
            Self::Variable(variable, secrets) => secrets.read(variable),
            Self::Lent {
                cluster,
                tenant,
                name,
                key,
            } => Box::pin(cluster.secret(tenant, name, key)).await,
        }
    }
}

impl TokenPlace {
    pub async fn read(&self) -> Result<Assertion, Failure> {
        match self {
            Self::File(path) => Assertion::from_file(path),
            Self::Lent {
                cluster,
                tenant,
                name,
            } => {
                let token = Box::pin(cluster.token(tenant, name, AUDIENCE)).await?;
                Assertion::of(token).ok_or_else(|| {
                    unusable(
                        "the API server gave a token that Entra cannot take: its issuer or \
                         audience has another form. It was not sent. Check the issuer: kubectl get \
                         --raw '/.well-known/openid-configuration'",
                    )
                })
            }
        }
    }
}
