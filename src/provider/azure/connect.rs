//! From a checked spec to a client of a vault.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::federation::Own;
use super::plan::{Plan, plan};
use super::transport::Transport;
use crate::credentials::AzureIdentity;
use crate::policy::AllowedVariable;
use crate::provider::cloud::{Ask, Cloud};
use crate::provider::http::NoClient;
use crate::provider::{Failure, Kms};

/// Everything that connections to Azure need, built once per process.
pub struct Azure {
    own: Own,
    transport: Transport,
}

impl fmt::Debug for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Azure")
    }
}

impl Azure {
    pub fn from_environment(identity: AzureIdentity) -> Result<Self, NoClient> {
        Ok(Self {
            own: Own::from_environment(identity),
            transport: Transport::from_environment()?,
        })
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Plan, Failure> {
        plan(ask.tenant, ask.spec, ask.policy, &self.own, &self.transport)
    }
}

#[async_trait]
impl Cloud for Azure {
    fn check(&self, ask: &Ask<'_>) -> Result<Option<AllowedVariable>, Failure> {
        Ok(self.plan(ask)?.variable().cloned())
    }

    // A client has a token of its own, so a new one is fresh.
    async fn client(&self, ask: &Ask<'_>, _fresh: bool) -> Result<Arc<dyn Kms>, Failure> {
        let plan = self.plan(ask)?;
        plan.client(&self.transport, ask.secrets, ask.cluster).await
    }
}
