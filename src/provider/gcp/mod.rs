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

use async_trait::async_trait;

pub use keyref::KeyRef;
pub use plan::{is_account, is_provider, subject};
pub use subject::{Base, Subject};

use kms::GcpKms;
use machine::Machine;
use plan::plan;
use transport::Transport;

use super::cloud::{Ask, Cloud};
use super::http::NoClient;
use super::{Failure, Kms};
use crate::policy::AllowedVariable;

/// Google as this process reaches it.
pub struct Gcp {
    transport: Transport,
    machine: Machine,
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
        })
    }
}

#[async_trait]
impl Cloud for Gcp {
    fn check(&self, ask: &Ask<'_>) -> Result<Option<AllowedVariable>, Failure> {
        plan(ask.tenant, ask.spec, ask.policy).map(|_| None)
    }

    async fn client(&self, ask: &Ask<'_>, fresh: bool) -> Result<Arc<dyn Kms>, Failure> {
        let plan = plan(ask.tenant, ask.spec, ask.policy)?;
        let since = fresh.then(|| self.machine.now());
        let source = plan.source(&self.transport, &self.machine, ask.cluster, since);
        source.check().await?;
        let life = ask.spec.timing().proof_ttl;
        Ok(Arc::new(GcpKms::new(source, life)))
    }
}
