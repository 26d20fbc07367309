//! From a spec to a client: every check that needs no network, in a fixed order, before the first
//! byte leaves. The policy is asked at every use, also when a client is at hand.

#![cfg_attr(
    not(feature = "azure"),
    allow(
        unused_variables,
        reason = "other clouds choose by themselves who the operator is"
    )
)]

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::cache::{Cache, Made};
use super::cloud::{Ask, Cloud, Named};
use super::local::{self, LocalKms};
pub use super::tenant::TenantId;
use super::{Anchor, Failure, Kms};
use crate::api::{ProviderKind, Reason, SecretRef, TenantKmsSpec};
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
    clouds: Vec<(ProviderKind, Box<dyn Cloud>)>,
    cache: Cache<Named>,
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
        let clouds: Vec<(ProviderKind, Box<dyn Cloud>)> = Vec::from([
            #[cfg(feature = "aws")]
            cloud(ProviderKind::Aws, super::aws::Aws::from_environment())?,
            #[cfg(feature = "azure")]
            cloud(
                ProviderKind::Azure,
                super::azure::Azure::from_environment(azure_identity),
            )?,
            #[cfg(feature = "gcp")]
            cloud(ProviderKind::Gcp, super::gcp::Gcp::from_environment())?,
        ]);
        Ok(Self {
            policy,
            secrets,
            cluster: Cluster::default(),
            local: local::Files::default(),
            clouds,
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
    /// nothing was sent to any cloud. `fresh` makes a new client, which fetches a new token.
    pub async fn connect(
        &self,
        tenant: &TenantId,
        spec: &TenantKmsSpec,
        anchor: &Anchor,
        fresh: bool,
    ) -> Result<Arc<dyn Kms>, Failure> {
        let policy = self.policy.borrow().clone();
        if spec.provider == ProviderKind::Local {
            let kms = LocalKms::connect(&self.local, tenant, spec, &policy)?;
            return Ok(Arc::new(kms));
        }
        let cloud = self.cloud(spec.provider)?;
        let ask = self.ask(tenant, spec, Some(anchor), &policy);
        let secret = match cloud.check(&ask)? {
            Some(variable) => Some(self.fingerprint(&self.secrets.read(&variable)?)),
            None => None,
        };
        let made = Made {
            spec: Named::by(spec, cloud.is_anchored().then_some(anchor)),
            secret,
        };
        // A token is used for at most `proofTTL`, and so is the client that holds it.
        let cached = self.cache.get(tenant, &made, spec.timing().proof_ttl);
        if let (false, Some(kms)) = (fresh, cached) {
            return Ok(kms);
        }
        let begun = self.cache.now();
        let kms = cloud.client(&ask, fresh).await?;
        self.cache.put(tenant, made, begun, kms.clone());
        Ok(kms)
    }

    /// Whether the policy allows this spec now. Sends nothing and reads no secret.
    pub fn permitted(&self, tenant: &TenantId, spec: &TenantKmsSpec) -> Result<(), Failure> {
        let policy = self.policy.borrow().clone();
        if spec.provider == ProviderKind::Local {
            return local::permitted(tenant, spec, &policy).map(drop);
        }
        let ask = self.ask(tenant, spec, None, &policy);
        self.cloud(spec.provider)?.check(&ask).map(drop)
    }

    /// Drops the tenant's clients and tokens.
    pub fn forget(&self, tenant: &TenantId) {
        self.cache.forget(tenant);
    }

    fn cloud(&self, provider: ProviderKind) -> Result<&dyn Cloud, Failure> {
        let mut clouds = self.clouds.iter();
        let cloud = clouds.find(|(kind, _)| *kind == provider);
        cloud
            .map(|(_, cloud)| &**cloud)
            .ok_or_else(|| not_built(provider))
    }

    fn ask<'a>(
        &'a self,
        tenant: &'a TenantId,
        spec: &'a TenantKmsSpec,
        anchor: Option<&'a Anchor>,
        policy: &'a Policy,
    ) -> Ask<'a> {
        Ask {
            tenant,
            spec,
            anchor,
            policy,
            secrets: &self.secrets,
            cluster: &self.cluster,
        }
    }

    fn fingerprint(&self, secret: &Secret) -> [u8; 32] {
        let tag = hmac::sign(&self.fingerprints, secret.expose().as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(tag.as_ref());
        fingerprint
    }
}

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
fn cloud(
    kind: ProviderKind,
    made: Result<impl Cloud + 'static, super::http::NoClient>,
) -> Result<(ProviderKind, Box<dyn Cloud>), NoTransport> {
    made.map(|cloud| (kind, Box::new(cloud) as _))
        .map_err(|_| NoTransport)
}

fn not_built(provider: ProviderKind) -> Failure {
    Failure::misconfigured(
        Reason::ProviderNotBuilt,
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
