//! Buys access tokens: from the metadata server, or at STS for the token of a tenant's
//! `ServiceAccount`; then, where the spec says so, at IAM for the service account that is impersonated.
//! What proves the identity is read for this one purchase.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::assertion::{Assertion, audience};
use super::classify::{self, Service};
use super::subject::{Base, Provider, Subject};
use super::transport::{IAM, STS, Transport};
use super::wire::{GeneratedToken, OauthToken};
use crate::api::Reason;
use crate::credentials::{Cluster, Secret};
use crate::provider::answer::Answer;
use crate::provider::http::receive;
use crate::provider::{Failure, TenantId};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";
/// The address is for hints alone, so nobody waits for it.
const EMAIL_DEADLINE: Duration = Duration::from_secs(1);
/// Of a token by impersonation: twice the longest `proofTTL`.
const LIFETIME_SECONDS: u64 = 600;

/// What a tenant's tokens are bought with.
#[derive(Debug)]
pub struct Source {
    pub transport: Transport,
    pub cluster: Cluster,
    pub tenant: TenantId,
    pub subject: Subject,
}

/// A token, how long it lasts, and whose it is as far as the metadata server told.
#[derive(Debug)]
pub struct Bought {
    pub token: Secret,
    pub life: Duration,
    pub seen: Option<String>,
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

    /// Which service is asked first, for the message when nobody answers in time.
    pub const fn service(&self) -> Service {
        match self.subject.who.base {
            Base::Machine => Service::Metadata,
            Base::Federated { .. } => Service::Sts,
        }
    }

    /// One new token. Not bounded in time: the caller is.
    pub async fn token(&self) -> Result<Bought, Failure> {
        let first = match &self.subject.who.base {
            Base::Machine => self.ask_metadata().await?,
            Base::Federated { provider, name, .. } => {
                let assertion = self.assertion(provider, name).await?;
                self.exchange(provider, &assertion).await?
            }
        };
        match &self.subject.who.impersonates {
            None => Ok(first),
            Some(email) => self.impersonate(email, first).await,
        }
    }

    async fn ask_metadata(&self) -> Result<Bought, Failure> {
        let wanted = format!("/token?scopes={SCOPE}");
        let (answer, seen) = tokio::join!(
            self.metadata(&wanted),
            timeout(EMAIL_DEADLINE, self.metadata("/email")),
        );
        let answer = answer?;
        let seen = match seen {
            Ok(Ok(answer)) if answer.status == 200 => email(answer.body()),
            _ => None,
        };
        if answer.status != 200 {
            return Err(classify::metadata(&answer));
        }
        let (token, life) = oauth(&answer).ok_or_else(classify::strange_metadata)?;
        Ok(Bought { token, life, seen })
    }

    async fn metadata(&self, path: &str) -> Result<Answer, Failure> {
        let url = format!("{}{ACCOUNT}{path}", self.transport.metadata_origin);
        let request = self.transport.metadata.get(url);
        let sent = request.header("metadata-flavor", "Google").send().await;
        let answer = receive(sent)
            .await
            .map_err(|trouble| classify::trouble(trouble, Service::Metadata))?;
        // Anybody may answer at a plain address; the real one says who it is.
        if answer.header("metadata-flavor") != Some("Google") {
            return Err(classify::strange_metadata());
        }
        Ok(answer)
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
    ) -> Result<Bought, Failure> {
        let body = json!({
            "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": format!("//iam.googleapis.com/{}", provider.id),
            "scope": SCOPE,
            "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
            "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
            "subjectToken": assertion.token.expose(),
        });
        let request = self
            .transport
            .identity
            .post(format!("https://{STS}/v1/token"));
        let answer = receive(request.json(&body).send().await)
            .await
            .map_err(|trouble| classify::trouble(trouble, Service::Sts))?;
        if answer.status != 200 {
            return Err(classify::sts(&answer, &self.subject, &assertion.issuer));
        }
        let (token, life) = oauth(&answer).ok_or_else(|| classify::distrusted(STS))?;
        Ok(Bought {
            token,
            life,
            seen: None,
        })
    }

    async fn impersonate(&self, email: &str, first: Bought) -> Result<Bought, Failure> {
        let url =
            format!("https://{IAM}/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
        let body = json!({ "scope": [SCOPE], "lifetime": format!("{LIFETIME_SECONDS}s") });
        let request = self.transport.identity.post(url);
        let sent = request
            .bearer_auth(first.token.expose())
            .json(&body)
            .send()
            .await;
        let answer = receive(sent)
            .await
            .map_err(|trouble| classify::trouble(trouble, Service::Iam))?;
        if answer.status != 200 {
            let seen = first.seen.as_deref();
            return Err(classify::iam(&answer, &self.subject, seen));
        }
        let token = serde_json::from_slice::<GeneratedToken>(answer.body()).ok();
        let token = token.and_then(|said| sound(said.access_token));
        Ok(Bought {
            token: token.ok_or_else(|| classify::distrusted(IAM))?,
            life: Duration::from_secs(LIFETIME_SECONDS),
            seen: first.seen,
        })
    }
}

fn oauth(answer: &Answer) -> Option<(Secret, Duration)> {
    let said: OauthToken = serde_json::from_slice(answer.body()).ok()?;
    Some((
        sound(said.access_token)?,
        Duration::from_secs(said.expires_in),
    ))
}

/// A token becomes a header of the next request.
fn sound(token: String) -> Option<Secret> {
    let sound = (1..=16_384).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    sound
        .then(|| Secret::from_bytes(token.into_bytes()).ok())
        .flatten()
}

/// It stands in messages, so it must look like an address.
fn email(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_@".contains(&b);
    let sound = (3..=253).contains(&text.len()) && text.contains('@') && text.bytes().all(plain);
    sound.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_a_header_or_a_message_has_a_harmless_form() {
        assert!(sound("ya29.c.abc".to_owned()).is_some());
        for bad in ["", "a b", "a\r\nx: y", "ä"] {
            assert!(sound(bad.to_owned()).is_none(), "{bad:?}");
        }
        assert_eq!(
            email(b"op@p.iam.gserviceaccount.com\n").as_deref(),
            Some("op@p.iam.gserviceaccount.com")
        );
        for bad in [&b"default"[..], b"a@b'; rm", b"", b"\xff@b"] {
            assert_eq!(email(bad), None);
        }
    }
}
