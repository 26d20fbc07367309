//! What a cloud is to the rest of the provider: the checks of a spec, and a client for its key. Which clients
//! are kept, and for how long, is decided once for all of them.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Anchor, Failure, Kms, TenantId};
use crate::api::{AwsSpec, AzureSpec, GcpSpec, ProviderKind, TenantKmsSpec};
use crate::credentials::{Cluster, SecretSource};
use crate::policy::{AllowedVariable, Policy};

/// A connection that is asked for, and what may be used to make it.
#[cfg_attr(
    not(all(feature = "aws", feature = "azure", feature = "gcp")),
    allow(dead_code, reason = "each cloud needs another part of it")
)]
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub tenant: &'a TenantId,
    pub spec: &'a TenantKmsSpec,
    /// `None` where nobody means to connect.
    pub anchor: Option<&'a Anchor>,
    pub policy: &'a Policy,
    pub secrets: &'a SecretSource,
    pub cluster: &'a Cluster,
}

/// A cloud as this process reaches it.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Every check that needs no network, the policy's among them. The variable whose value the
    /// credential needs, if it needs one; it is not read here.
    fn check(&self, ask: &Ask<'_>) -> Result<Option<AllowedVariable>, Failure>;

    /// A new client, after its credential was found to be there; with `fresh` it uses no token
    /// that was bought before.
    async fn client(&self, ask: &Ask<'_>, fresh: bool) -> Result<Arc<dyn Kms>, Failure>;

    /// Whether a client depends on what is on record of its tenant.
    fn is_anchored(&self) -> bool {
        false
    }
}

/// What a client is made from.
#[derive(PartialEq, Eq)]
pub struct Named {
    provider: ProviderKind,
    key: String,
    azure: Option<Box<AzureSpec>>,
    aws: Option<Box<AwsSpec>>,
    gcp: Option<Box<GcpSpec>>,
    anchor: Option<Box<Anchor>>,
}

impl Named {
    pub fn by(spec: &TenantKmsSpec, anchor: Option<&Anchor>) -> Self {
        Self {
            provider: spec.provider,
            key: spec.kms_key_ref.clone(),
            azure: spec.azure.clone(),
            aws: spec.aws.clone(),
            gcp: spec.gcp.clone(),
            anchor: anchor.cloned().map(Box::new),
        }
    }
}
