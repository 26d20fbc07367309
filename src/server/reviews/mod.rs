//! Who calls and what they may: the API server's `TokenReview` and `SubjectAccessReview`, and what
//! is remembered of them. A remembered answer costs a hash and a short lock.

mod api;
pub mod jwt;
mod memo;
mod refusal;
mod remembered;
mod store;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReviewStatus;
use kube::Client;

use crate::clock::Clock;
use crate::policy::pattern::is_dns_name;
use crate::provider::TenantId;
use crate::session::Caller;
use crate::session::caller::{ServiceAccount, length_prefixed_digest};
use api::{ApiServer, Reviewer};
use memo::{Denied, Memo};
pub use refusal::{Forbidden, Refusal, Why};
use remembered::{Terms, Trouble, Verdict};
use store::Key;

const TOKENS: Terms = Terms {
    early: Duration::from_mins(3),
    yes: Duration::from_mins(4),
    hold: Duration::from_mins(5),
    no: Duration::from_secs(10),
};
const ACCESS: Terms = Terms {
    early: Duration::from_secs(20),
    yes: Duration::from_secs(30),
    hold: Duration::from_mins(5),
    no: Duration::from_secs(10),
};
/// Of the [`memo::QUEUE`] reviews of each kind: of the tokens that come from one address, and of the
/// accesses of one `ServiceAccount`, which may serve all tenants.
const OF_PEER: usize = 32;
const OF_ACCOUNT: usize = 128;
/// A token that does not say when it ends.
const ENDLESS: Duration = Duration::from_secs(10);

/// What a caller wants of a tenant: `create` on this subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    Session,
    /// A plaintext data key leaves the operator's hands.
    DataKey,
}

impl Right {
    pub const fn subresource(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::DataKey => "datakey",
        }
    }
}

/// Who calls and what they may, remembered.
pub struct Reviews {
    reviewer: Arc<dyn Reviewer>,
    clock: Arc<dyn Clock>,
    tokens: Arc<Memo<IpAddr, Arc<Caller>, Why>>,
    access: Arc<Memo<ServiceAccount, (), ()>>,
}

impl fmt::Debug for Reviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reviews")
    }
}

impl Reviews {
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self::by(Arc::new(ApiServer(client)), clock)
    }

    fn by(reviewer: Arc<dyn Reviewer>, clock: Arc<dyn Clock>) -> Self {
        Self {
            reviewer,
            tokens: Memo::new("token", TOKENS, OF_PEER, clock.clone()),
            access: Memo::new("access", ACCESS, OF_ACCOUNT, clock.clone()),
            clock,
        }
    }

    /// Whose token this is, which `peer` shows; an absent one is refused like an empty one.
    pub async fn caller(&self, peer: IpAddr, token: &str) -> Result<Arc<Caller>, Refusal> {
        if token.len() > jwt::MAX_BYTES {
            return Err(of_token(Denied::No(Why::Malformed)));
        }
        let review = || {
            let shape = jwt::shape(token).ok_or(Why::Malformed)?;
            let (reviewer, clock) = (self.reviewer.clone(), self.clock.clone());
            let token = token.to_owned();
            Ok(async move {
                let asked = clock.now();
                let status = reviewer.token(&token).await?;
                Ok(match Caller::reviewed(status) {
                    Ok(caller) => Verdict::Yes {
                        value: Arc::new(caller),
                        until: shape.expires.unwrap_or(asked.wall + ENDLESS),
                    },
                    Err(nobody) => Verdict::No(nobody.into()),
                })
            })
        };
        let key = length_prefixed_digest(&[token.as_bytes()]);
        let answer = self.tokens.answer(&peer, key, review).await;
        answer.map_err(of_token)
    }

    /// Whether the caller has this right on the tenant.
    pub async fn may(
        &self,
        caller: &Arc<Caller>,
        tenant: &TenantId,
        right: Right,
    ) -> Result<(), Refusal> {
        if !(is_dns_name(&tenant.namespace) && is_dns_name(&tenant.name)) {
            // No object can be called so: nothing to ask, and nothing to repeat.
            let nowhere = TenantId::new("<namespace>", "<name>");
            return Err(forbidden(caller, &nowhere, right));
        }
        let review = || {
            let reviewer = self.reviewer.clone();
            let question = api::question(caller, tenant, right);
            Ok(async move { verdict(&reviewer.access(question).await?) })
        };
        let key = access_key(caller, tenant, right);
        // Not each of its pods: those are as many as somebody likes.
        let asker = caller.service_account();
        let answer = self.access.answer(asker, key, review).await;
        answer.map_err(|denied| match denied {
            Denied::No(()) => forbidden(caller, tenant, right),
            Denied::Trouble(trouble) => of_trouble(trouble),
        })
    }
}

/// An authorizer that failed has said nothing; one that was never asked has.
fn verdict(status: &SubjectAccessReviewStatus) -> Result<Verdict<(), ()>, Trouble> {
    let error = status.evaluation_error.as_deref().unwrap_or_default();
    match (status.allowed, error.is_empty()) {
        (true, _) => Ok(Verdict::Yes {
            value: (),
            until: Duration::MAX,
        }),
        (false, true) => Ok(Verdict::No(())),
        (false, false) => Err(Trouble::Silent),
    }
}

fn of_token(denied: Denied<Why>) -> Refusal {
    match denied {
        Denied::No(why) => Refusal::Unauthenticated { why },
        Denied::Trouble(trouble) => of_trouble(trouble),
    }
}

fn of_trouble(trouble: Trouble) -> Refusal {
    match trouble {
        Trouble::Silent | Trouble::Status(_) => Refusal::Unavailable,
        Trouble::Busy => Refusal::Busy,
    }
}

fn forbidden(caller: &Caller, tenant: &TenantId, right: Right) -> Refusal {
    Refusal::Forbidden(Box::new(Forbidden {
        service_account: caller.service_account().clone(),
        tenant: tenant.clone(),
        right,
    }))
}

/// The caller's digest covers its name, uid and pod.
fn access_key(caller: &Caller, tenant: &TenantId, right: Right) -> Key {
    length_prefixed_digest(&[
        &caller.digest(),
        tenant.namespace.as_bytes(),
        tenant.name.as_bytes(),
        right.subresource().as_bytes(),
    ])
}

#[cfg(test)]
mod tests;
