//! Buys access tokens: from the metadata server, or at STS for the token of a tenant's
//! `ServiceAccount`; then, where the spec says so, at IAM for the service account that is impersonated.
//! What proves the identity is read for this one purchase.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::assertion::{Assertion, audience};
use super::classify::{self, Service};
use super::machine::Machine;
use super::subject::{Base, Provider, Subject};
use super::token::Token;
use super::transport::{IAM, STS, Transport};
use super::wire::GeneratedToken;
use crate::api::Reason;
use crate::clock::Moment;
use crate::credentials::Cluster;
use crate::provider::answer::{Answer, Trouble};
use crate::provider::http::receive;
use crate::provider::{Failure, TenantId};

pub const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Of a token by impersonation: twice the longest `proofTTL`.
const LIFETIME_SECONDS: u64 = 600;

/// What a tenant's tokens are bought with.
#[derive(Debug)]
pub struct Source {
    pub transport: Transport,
    pub machine: Machine,
    pub cluster: Cluster,
    pub tenant: TenantId,
    pub subject: Subject,
    /// Tokens of the operator itself that were fetched long before are not used.
    pub since: Option<Moment>,
}

impl Source {
    /// Whether the credential can be had now. Asks the API server at most; nothing leaves.
    pub async fn check(&self) -> Result<(), Failure> {
        match &self.subject.who.base {
            Base::Machine => Ok(()),
            Base::Federated { provider, name, .. } => {
                self.assertion(provider, name).await.map(drop)
            }
        }
    }

    /// Which service is asked first.
    pub const fn service(&self) -> Service {
        match self.subject.who.base {
            Base::Machine => Service::Metadata,
            Base::Federated { .. } => Service::Sts,
        }
    }

    /// One new token, if every service that is asked answers in time. `again` when one was refused.
    pub async fn token(&self, again: bool, now: Moment, until: Instant) -> Result<Token, Failure> {
        let since = if again { Some(now) } else { self.since };
        let first = match &self.subject.who.base {
            Base::Machine => self.machine.token(since, until).await?,
            Base::Federated { provider, name, .. } => {
                let assertion = self.assertion(provider, name).await?;
                self.exchange(provider, &assertion, now, until).await?
            }
        };
        match &self.subject.who.impersonates {
            None => Ok(first),
            Some(email) => self.impersonate(email, first, now, until).await,
        }
    }

    // Boxed: the API server's future is large, and most tenants never need it.
    async fn assertion(&self, provider: &Provider, name: &str) -> Result<Assertion, Failure> {
        let audience = audience(&provider.id);
        let token = Box::pin(self.cluster.token(&self.tenant, name, &audience)).await?;
        let subject = self.subject.who.base.account().unwrap_or_default();
        Assertion::of(token, &audience, &subject).ok_or_else(|| {
            Failure::misconfigured(
                Reason::IdentityUnavailable,
                "the API server gave a token that Google cannot take: its issuer, subject or audience \
                 has another form. It was not sent. Check the issuer: kubectl get --raw \
                 '/.well-known/openid-configuration'",
            )
        })
    }

    async fn exchange(
        &self,
        provider: &Provider,
        assertion: &Assertion,
        now: Moment,
        until: Instant,
    ) -> Result<Token, Failure> {
        let body = json!({
            "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": format!("//iam.googleapis.com/{}", provider.id),
            "scope": SCOPE,
            "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
            "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
            "subjectToken": assertion.token.expose(),
        });
        let url = format!("https://{STS}/v1/token");
        let request = self.transport.identity.post(url).json(&body);
        let answer = ask(Service::Sts, request, until).await?;
        if answer.status != 200 {
            return Err(classify::sts(&answer, &self.subject, &assertion.issuer));
        }
        Token::of(&answer, now).ok_or_else(|| classify::distrusted(STS))
    }

    async fn impersonate(
        &self,
        email: &str,
        first: Token,
        now: Moment,
        until: Instant,
    ) -> Result<Token, Failure> {
        let url =
            format!("https://{IAM}/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
        let body = json!({ "scope": [SCOPE], "lifetime": format!("{LIFETIME_SECONDS}s") });
        let request = self.transport.identity.post(url);
        let request = request.bearer_auth(first.secret.expose()).json(&body);
        let answer = ask(Service::Iam, request, until).await?;
        if answer.status != 200 {
            let seen = first.seen.as_deref();
            return Err(classify::iam(&answer, &self.subject, seen));
        }
        let life = Duration::from_secs(LIFETIME_SECONDS);
        let token = serde_json::from_slice::<GeneratedToken>(answer.body()).ok();
        let token = token.and_then(|said| Token::new(said.access_token, now, life));
        let mut token = token.ok_or_else(|| classify::distrusted(IAM))?;
        token.seen = first.seen;
        Ok(token)
    }
}

/// The answer of `service`, which is to blame when it does not come in time.
async fn ask(
    service: Service,
    request: reqwest::RequestBuilder,
    until: Instant,
) -> Result<Answer, Failure> {
    let answer = timeout_at(until, async { receive(request.send().await).await }).await;
    let answer = answer.unwrap_or(Err(Trouble::Timeout));
    answer.map_err(|trouble| classify::trouble(trouble, service))
}
