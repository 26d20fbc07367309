//! From a checked spec to a client of KMS, and the sessions it works with. A client lives for at most
//! `proofTTL`, and its session with it, so that a no of STS is heard.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_credential_types::Credentials;

use super::classify;
use super::kms::AwsKms;
use super::means::AUDIENCE;
use super::own::Own;
use super::plan::plan;
use super::sts;
use super::subject::{Subject, Who, quoted};
use super::transport::Transport;
use crate::api::Reason;
use crate::clock::Moment;
use crate::credentials::Cluster;
use crate::lock::lock;
use crate::policy::AllowedVariable;
use crate::provider::cloud::{Ask, Cloud};
use crate::provider::http::NoClient;
use crate::provider::{Anchor, Failure, Kms, TenantId, external_id as issued_to};
use crate::random;

/// Twice the design point of one process; beyond it they are tried anew.
const TRIED: usize = 20_000;

/// Everything that connections to AWS need, built once per process.
pub struct Aws {
    transport: Transport,
    own: Own,
    tried: Tried,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aws")
    }
}

/// Role and external id by tenant, where a wrong one was tried and refused.
type Tried = Arc<Mutex<HashMap<TenantId, (String, String)>>>;

impl Aws {
    pub fn from_environment() -> Result<Self, NoClient> {
        Ok(Self {
            transport: Transport::from_environment()?,
            own: Own::from_environment(),
            tried: Tried::default(),
        })
    }
}

#[async_trait]
impl Cloud for Aws {
    fn check(&self, ask: &Ask<'_>) -> Result<Option<AllowedVariable>, Failure> {
        let written = ask.spec.aws.as_ref();
        let external_id = match ask.anchor {
            Some(anchor) => anchor.external_id(),
            // Any external id will do: it is no question of the policy.
            None => Some(
                written
                    .and_then(|aws| aws.external_id.clone())
                    .unwrap_or_else(|| "-".to_owned()),
            ),
        };
        let external_id = external_id.as_deref();
        plan(ask.tenant, ask.spec, external_id, ask.policy, &self.own).map(|_| None)
    }

    /// AWS itself is asked only where `kmsKeyRef` is an alias that is not known to be a certain
    /// key: which key it names.
    async fn client(&self, ask: &Ask<'_>, fresh: bool) -> Result<Arc<dyn Kms>, Failure> {
        let external_id = ask.anchor.and_then(Anchor::external_id);
        let external_id = external_id.as_deref();
        let mut subject = plan(ask.tenant, ask.spec, external_id, ask.policy, &self.own)?;
        let source = Source {
            transport: self.transport.clone(),
            own: self.own.clone(),
            cluster: ask.cluster.clone(),
            tenant: ask.tenant.clone(),
            tried: self.tried.clone(),
            since: fresh.then(|| self.own.now()),
        };
        source.check(&subject).await?;
        let alias = subject.key.is_alias().then(|| subject.key.arn.clone());
        if alias.is_some() {
            let pinned = ask.anchor.and_then(|anchor| anchor.key_id.as_deref());
            if let Some(key) = pinned.and_then(|arn| subject.key.sibling(arn)) {
                subject.key = key;
            }
        }
        let open = subject.key.is_alias();
        let kms = AwsKms::new(source, subject, alias);
        Ok(Arc::new(if open { kms.resolved().await? } else { kms }))
    }

    /// The external id, and the key that an alias named.
    fn is_anchored(&self) -> bool {
        true
    }
}

/// Where a tenant's sessions come from.
#[derive(Debug)]
pub struct Source {
    pub transport: Transport,
    own: Own,
    cluster: Cluster,
    tenant: TenantId,
    tried: Tried,
    /// Sessions of the operator itself that were begun long before are not used.
    since: Option<Moment>,
}

impl Source {
    /// Whether what the tenant's namespace lends can be had now; nothing leaves.
    async fn check(&self, subject: &Subject) -> Result<(), Failure> {
        match &subject.who {
            Who::ServiceAccount { account, .. } => self.token(account).await.map(drop),
            Who::Own | Who::Role { .. } => Ok(()),
        }
    }

    /// One new session. Not bounded in time: the caller is.
    pub async fn session(&self, subject: &Subject) -> Result<Credentials, Failure> {
        let (transport, since) = (&self.transport, self.since);
        let refused =
            |refused: sts::Refused| refused.failure(subject, |said| classify::sts(said, subject));
        match &subject.who {
            Who::Own => self.own.session(transport, subject, since).await,
            Who::Role { arn, external_id } => {
                let own = self.own.session(transport, subject, since).await?;
                let session =
                    sts::with_external_id(transport, subject, own.clone(), arn, external_id);
                let session = session.await.map_err(refused)?;
                self.try_wrong(subject, own, arn, external_id).await?;
                Ok(session)
            }
            Who::ServiceAccount { arn, account } => {
                let token = self.token(account).await?;
                let name = &subject.session;
                let session = sts::with_token(transport, subject, arn, name, &token);
                session.await.map_err(refused)
            }
        }
    }

    /// Lets the tenant's object name this key.
    pub fn follow(&self, arn: &str) -> String {
        let patch = serde_json::json!({ "spec": { "kmsKeyRef": arn } });
        format!(
            "kubectl patch tkms {} --namespace {} --type merge --patch {}",
            quoted(&self.tenant.name),
            quoted(&self.tenant.namespace),
            quoted(&patch.to_string())
        )
    }

    async fn token(&self, account: &str) -> Result<crate::credentials::Secret, Failure> {
        let name = account.split('/').next_back().unwrap_or_default();
        // Boxed: the API server's future is large.
        Box::pin(self.cluster.token(&self.tenant, name, AUDIENCE)).await
    }

    /// A role that opens with any external id opens for whoever names it to the operator, so it is not
    /// used. Tried once for each role and external id, when the right one has opened it, with one that
    /// another tenant might have.
    async fn try_wrong(
        &self,
        subject: &Subject,
        own: Credentials,
        role: &str,
        external_id: &str,
    ) -> Result<(), Failure> {
        let of = (role.to_owned(), external_id.to_owned());
        if self.tried().get(&self.tenant) == Some(&of) {
            return Ok(());
        }
        let nobody = random::hex::<16>().map_err(|_| {
            Failure::transient(
                Reason::ProviderError,
                "the machine gave no random bytes; look at the node: kubectl describe node '<node>'",
            )
        })?;
        let wrong = issued_to(&nobody);
        let opened = sts::with_external_id(&self.transport, subject, own, role, &wrong).await;
        match opened {
            Ok(_) => Err(classify::opens_to_anybody(subject)),
            Err(refused) if refused.is_denied() => {
                let mut tried = self.tried();
                if tried.len() >= TRIED {
                    tried.clear();
                }
                tried.insert(self.tenant.clone(), of);
                Ok(())
            }
            Err(refused) => Err(refused.failure(subject, |said| classify::sts(said, subject))),
        }
    }

    fn tried(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, (String, String)>> {
        lock(&self.tried)
    }
}
