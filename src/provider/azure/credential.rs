//! A tenant's credential as the SDK asks for it. It gives a token for the one audience that its
//! endpoint has, whatever a vault's challenge says, and answers within a deadline.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};

use super::classify;
use super::source::Source;
use super::subject::Subject;
use super::token::object_id;
use super::transport::Transport;
use crate::api::Reason;
use crate::lock::lock;
use crate::provider::Failure;

/// For one token, whatever it takes to get it.
const DEADLINE: Duration = Duration::from_secs(8);

pub struct Credential {
    source: Source,
    transport: Transport,
    /// `https://vault.azure.net` and the like.
    resource: String,
    subject: Subject,
    /// The object id of the last token, for hints.
    seen: Mutex<Option<String>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

impl Credential {
    pub fn new(source: Source, transport: Transport, resource: String, subject: Subject) -> Self {
        Self {
            source,
            transport,
            resource,
            subject,
            seen: Mutex::default(),
        }
    }

    pub fn seen(&self) -> Option<String> {
        lock(&self.seen).clone()
    }

    async fn token(&self, scopes: &[&str]) -> Result<AccessToken, Failure> {
        if scopes != [format!("{}/.default", self.resource)] {
            return Err(Failure::transient(
                Reason::ProviderError,
                format!(
                    "{} asked for a token that is not for {}: nothing was sent. Check what answers \
                     under that name: {}",
                    self.subject.host,
                    self.resource,
                    self.subject.reach_vault()
                ),
            ));
        }
        let token = self
            .source
            .token(&self.transport, &self.resource, &self.subject);
        let token = tokio::time::timeout(DEADLINE, token)
            .await
            .map_err(|_| classify::silent(self.source.service(), &self.subject))??;
        *lock(&self.seen) = object_id(token.token.secret());
        Ok(token)
    }
}

#[async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        // The failure travels through the SDK whole, and is found again in the error's sources.
        let token = self.token(scopes).await;
        token.map_err(|failure| Error::new(ErrorKind::Credential, failure))
    }
}
