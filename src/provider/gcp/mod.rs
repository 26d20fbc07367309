//! Google Cloud KMS. Nothing of Google's words or types leaves this folder but as a failure, a wrapped
//! key or an identity for people to read. Credential files (`external_account` JSON and the like) are
//! not read here: they may name any host, file or program to take a token from.

mod assertion;
mod checksum;
mod classify;
mod credential;
mod keyref;
mod kms;
mod machine;
mod plan;
mod source;
mod subject;
mod token;
mod transport;
mod wire;

use std::fmt;
use std::sync::Arc;

pub use keyref::KeyRef;
pub use plan::{is_account, is_provider, plan, subject};
pub use subject::{Base, Subject};

use kms::GcpKms;
use machine::Machine;
use transport::Transport;

use super::cache::{Cache, Made};
use super::http::NoClient;
use super::{Failure, Kms, TenantId};
use crate::api::{GcpSpec, TenantKmsSpec};
use crate::clock::SystemClock;
use crate::credentials::Cluster;
use crate::policy::Policy;

/// Google as this process reaches it, with the clients of its tenants.
pub struct Gcp {
    transport: Transport,
    machine: Machine,
    cache: Cache<(String, Option<Box<GcpSpec>>)>,
}

impl fmt::Debug for Gcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gcp").finish_non_exhaustive()
    }
}

impl Gcp {
    pub fn from_environment() -> Result<Self, NoClient> {
        let transport = Transport::from_environment()?;
        Ok(Self {
            machine: Machine::new(transport.clone()),
            transport,
            cache: Cache::new(Arc::new(SystemClock)),
        })
    }

    /// A client for the key and credential that `spec` names; a new one, with a new token, when it
    /// must be `fresh`.
    pub async fn connect(
        &self,
        tenant: &TenantId,
        spec: &TenantKmsSpec,
        policy: &Policy,
        cluster: &Cluster,
        fresh: bool,
    ) -> Result<Arc<dyn Kms>, Failure> {
        let plan = plan(tenant, spec, policy)?;
        let made = Made {
            spec: (spec.kms_key_ref.clone(), spec.gcp.clone()),
            secret: None,
        };
        // A token is used for at most `proofTTL`, and so is the client that holds it.
        let life = spec.timing().proof_ttl;
        let cached = self.cache.get(tenant, &made, life);
        if let (false, Some(kms)) = (fresh, cached) {
            return Ok(kms);
        }
        let begun = self.cache.now();
        let source = plan.source(&self.transport, &self.machine, cluster, fresh);
        source.check().await?;
        let kms: Arc<dyn Kms> = Arc::new(GcpKms::new(source, life));
        self.cache.put(tenant, made, begun, kms.clone());
        Ok(kms)
    }

    /// Drops the tenant's clients and tokens.
    pub fn forget(&self, tenant: &TenantId) {
        self.cache.forget(tenant);
    }
}
