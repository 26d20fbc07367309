//! From a spec to a client: every check that needs no network, in a fixed order, before the first
//! byte leaves. The policy is asked at every use, also when a client is at hand.

#![cfg_attr(
    not(all(feature = "aws", feature = "azure", feature = "gcp")),
    allow(unused, reason = "a build without a cloud only refuses")
)]

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::cache::{Cache, Made};
use super::local::{self, LocalKms};
pub use super::tenant::TenantId;
use super::{Anchor, Failure, Kms};
use crate::api::{AzureSpec, ProviderKind, SecretRef, TenantKmsSpec};
use crate::clock::SystemClock;
use crate::credentials::{AzureIdentity, Cluster, Lent, Secret, SecretSource};
use crate::policy::Policy;

/// Where the controller gets its clients.
#[async_trait]
pub trait Connect: Send + Sync {
    /// A client for the key and credential that `spec` names; a new one when it must be `fresh`.
    async fn connect(
        &self,
        tenant: &TenantId,
        spec: &TenantKmsSpec,
        anchor: &Anchor,
        fresh: bool,
    ) -> Result<Arc<dyn Kms>, Failure>;

    /// Whether the policy allows this spec now. Sends nothing and reads no secret.
    fn permitted(&self, tenant: &TenantId, spec: &TenantKmsSpec) -> Result<(), Failure>;

    /// A value that the tenant's namespace lends, read now.
    async fn lent(
        &self,
        tenant: &TenantId,
        from: &SecretRef,
    ) -> Result<Zeroizing<Vec<u8>>, Failure>;

    /// Drops the tenant's clients and tokens.
    fn forget(&self, tenant: &TenantId);
}

#[async_trait]
impl Connect for Providers {
    async fn connect(
        &self,
        tenant: &TenantId,
        spec: &TenantKmsSpec,
        anchor: &Anchor,
        fresh: bool,
    ) -> Result<Arc<dyn Kms>, Failure> {
        Self::connect(self, tenant, spec, anchor, fresh).await
    }

    fn permitted(&self, tenant: &TenantId, spec: &TenantKmsSpec) -> Result<(), Failure> {
        Self::permitted(self, tenant, spec)
    }

    async fn lent(
        &self,
        tenant: &TenantId,
        from: &SecretRef,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let lent = Lent::WrappedKey(&from.name);
        self.cluster.value(tenant, lent, &from.key).await
    }

    fn forget(&self, tenant: &TenantId) {
        Self::forget(self, tenant);
    }
}

/// Everything a connection needs, built once per process.
pub struct Providers {
    policy: watch::Receiver<Arc<Policy>>,
    secrets: SecretSource,
    cluster: Cluster,
    local: local::Files,
    #[cfg(feature = "aws")]
    aws: super::aws::Aws,
    #[cfg(feature = "azure")]
    azure_own: super::azure::Own,
    #[cfg(feature = "azure")]
    azure: super::azure::Transport,
    #[cfg(feature = "gcp")]
    gcp: super::gcp::Gcp,
    cache: Cache<(String, Option<Box<AzureSpec>>)>,
    /// Keys the fingerprints of secrets; lives and dies with the process.
    fingerprints: hmac::Key,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}

/// Why the process cannot talk to any cloud at all.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "no client for the clouds could be made. SSL_CERT_FILE, when set, must be a file of \
     certificates; AZURE_POD_IDENTITY_AUTHORITY_HOST and AWS_EC2_METADATA_SERVICE_ENDPOINT http or \
     https URLs; AZURE_AUTHORITY_HOST an https URL; GCE_METADATA_HOST a host, perhaps with a port"
)]
pub struct NoTransport;

impl Providers {
    pub fn new(
        policy: watch::Receiver<Arc<Policy>>,
        secrets: SecretSource,
        azure_identity: AzureIdentity,
    ) -> Result<Self, NoTransport> {
        Ok(Self {
            policy,
            secrets,
            cluster: Cluster::default(),
            local: local::Files::default(),
            #[cfg(feature = "aws")]
            aws: super::aws::Aws::from_environment().map_err(|_| NoTransport)?,
            #[cfg(feature = "azure")]
            azure_own: super::azure::Own::from_environment(azure_identity),
            #[cfg(feature = "azure")]
            azure: super::azure::Transport::from_environment().map_err(|_| NoTransport)?,
            #[cfg(feature = "gcp")]
            gcp: super::gcp::Gcp::from_environment().map_err(|_| NoTransport)?,
            cache: Cache::new(Arc::new(SystemClock)),
            fingerprints: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .map_err(|_| NoTransport)?,
        })
    }

    /// Lets tenants use what their namespaces lend; without it, Secrets and `ServiceAccounts` of
    /// a spec are refused.
    #[must_use]
    pub fn with_cluster(self, cluster: Cluster) -> Self {
        Self { cluster, ..self }
    }

    /// The folder of the keys that the platform mounts; without one, `local://` keys are refused.
    #[must_use]
    pub fn with_local_keks(self, folder: Option<PathBuf>) -> Self {
        Self {
            local: local::Files::new(folder),
            ..self
        }
    }

    /// A client for the key and credential that `spec` names. Only the API server is asked here,
    /// for what a namespace lends, and AWS which key an alias names: any other refusal means that
    /// nothing was sent to any cloud. `fresh`
    /// makes a new client, which fetches a new token.
    #[cfg_attr(
        not(any(feature = "aws", feature = "azure", feature = "gcp")),
        expect(clippy::unused_async, reason = "without a cloud nothing is waited for")
    )]
    pub async fn connect(
        &self,
        tenant: &TenantId,
        spec: &TenantKmsSpec,
        anchor: &Anchor,
        fresh: bool,
    ) -> Result<Arc<dyn Kms>, Failure> {
        match spec.provider {
            #[cfg(feature = "aws")]
            ProviderKind::Aws => {
                let policy = self.policy.borrow().clone();
                let (aws, cluster) = (&self.aws, &self.cluster);
                aws.connect(tenant, spec, anchor, &policy, cluster, fresh)
                    .await
            }
            #[cfg(feature = "azure")]
            ProviderKind::Azure => self.connect_azure(tenant, spec, fresh).await,
            #[cfg(feature = "gcp")]
            ProviderKind::Gcp => {
                let policy = self.policy.borrow().clone();
                let connect = self
                    .gcp
                    .connect(tenant, spec, &policy, &self.cluster, fresh);
                connect.await
            }
            ProviderKind::Local => {
                let policy = self.policy.borrow().clone();
                let kms = LocalKms::connect(&self.local, tenant, spec, &policy)?;
                Ok(Arc::new(kms))
            }
            #[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp")))]
            provider => Err(not_built(provider)),
        }
    }

    /// Whether the policy allows this spec now. Sends nothing and reads no secret.
    pub fn permitted(&self, tenant: &TenantId, spec: &TenantKmsSpec) -> Result<(), Failure> {
        match spec.provider {
            #[cfg(feature = "aws")]
            ProviderKind::Aws => {
                let policy = self.policy.borrow().clone();
                self.aws.permitted(tenant, spec, &policy)
            }
            #[cfg(feature = "azure")]
            ProviderKind::Azure => {
                let policy = self.policy.borrow().clone();
                super::azure::plan(tenant, spec, &policy, &self.azure_own, &self.azure).map(|_| ())
            }
            #[cfg(feature = "gcp")]
            ProviderKind::Gcp => {
                let policy = self.policy.borrow().clone();
                super::gcp::plan(tenant, spec, &policy).map(drop)
            }
            ProviderKind::Local => {
                let policy = self.policy.borrow().clone();
                local::permitted(tenant, spec, &policy).map(drop)
            }
            #[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp")))]
            provider => Err(not_built(provider)),
        }
    }

    /// Drops the tenant's clients and tokens.
    pub fn forget(&self, tenant: &TenantId) {
        self.cache.forget(tenant);
        #[cfg(feature = "aws")]
        self.aws.forget(tenant);
        #[cfg(feature = "gcp")]
        self.gcp.forget(tenant);
    }

    #[cfg(feature = "azure")]
    async fn connect_azure(
        &self,
        tenant: &TenantId,
        spec: &TenantKmsSpec,
        fresh: bool,
    ) -> Result<Arc<dyn Kms>, Failure> {
        let policy = self.policy.borrow().clone();
        let plan = super::azure::plan(tenant, spec, &policy, &self.azure_own, &self.azure)?;
        let secret = match plan.variable() {
            Some(variable) => Some(self.fingerprint(&self.secrets.read(variable)?)),
            None => None,
        };
        let made = Made {
            spec: (spec.kms_key_ref.clone(), spec.azure.clone()),
            secret,
        };
        // A token is used for at most `proofTTL`, and so is the client that holds it.
        let life = spec.timing().proof_ttl;
        let cached = self.cache.get(tenant, &made, life);
        if let (false, Some(kms)) = (fresh, cached) {
            return Ok(kms);
        }
        let begun = self.cache.now();
        let kms = plan
            .client(&self.azure, &self.secrets, &self.cluster)
            .await?;
        self.cache.put(tenant, made, begun, kms.clone());
        Ok(kms)
    }

    fn fingerprint(&self, secret: &Secret) -> [u8; 32] {
        let tag = hmac::sign(&self.fingerprints, secret.expose().as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(tag.as_ref());
        fingerprint
    }
}

#[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp")))]
fn not_built(provider: ProviderKind) -> Failure {
    Failure::misconfigured(
        crate::api::Reason::ProviderNotBuilt,
        format!(
            "this build of the operator has no provider '{}'. Check spec.provider, and the image \
             that runs: kubectl get deployment --all-namespaces --selector \
             'app.kubernetes.io/name=tenant-kms-operator' --output wide",
            provider.name()
        ),
    )
}

#[cfg(all(test, feature = "azure"))]
mod tests;
