//! A tenant's token: bought when it is first needed, by one caller for all, and used until shortly
//! before its end, but for at most `proofTTL`: so a no at the identity services is heard. One that Cloud
//! KMS does not take is not used again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::classify;
use super::source::Source;
use super::token::Token;
use crate::clock::{Clock, SystemClock};
use crate::provider::Failure;

/// For one token, whatever it takes to get it.
const DEADLINE: Duration = Duration::from_secs(8);

pub struct Credential {
    source: Source,
    /// A token is used.
    longest: Duration,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Token>>,
}

impl Credential {
    pub fn new(source: Source, longest: Duration) -> Self {
        Self {
            source,
            longest,
            clock: Arc::new(SystemClock),
            held: Mutex::default(),
        }
    }

    pub async fn token(&self) -> Result<Token, Failure> {
        self.other_than(None).await
    }

    /// One for another try; `None` where the same would be had again.
    pub async fn instead_of(&self, refused: &Token) -> Result<Option<Token>, Failure> {
        let new = self.other_than(Some(refused)).await?;
        Ok((!new.is(refused)).then_some(new))
    }

    async fn other_than(&self, refused: Option<&Token>) -> Result<Token, Failure> {
        let until = Instant::now() + DEADLINE;
        let mut held = timeout_at(until, self.held.lock())
            .await
            .map_err(|_| classify::silent(self.source.service()))?;
        let now = self.clock.now();
        held.take_if(|held| {
            refused.is_some_and(|refused| held.is(refused)) || !held.lasts(now, self.longest)
        });
        if let Some(held) = held.as_ref() {
            return Ok(held.clone());
        }
        let new = self.source.token(refused.is_some(), now, until).await?;
        Ok(held.insert(new).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Cluster;
    use crate::provider::TenantId;
    use crate::provider::gcp::machine::tests::Server;
    use crate::provider::gcp::subject::tests::machine;
    use crate::provider::shared::FRESH;

    #[tokio::test]
    async fn a_token_that_was_refused_is_not_used_again() {
        let server = Server::new().await;
        let source = Source {
            transport: server.machine.transport.clone(),
            machine: server.machine.clone(),
            cluster: Cluster::default(),
            tenant: TenantId::new("tenants", "acme"),
            subject: machine(),
            since: None,
        };
        let credential = Credential {
            clock: server.clock.clone(),
            ..Credential::new(source, Duration::from_mins(5))
        };
        let first = credential.token().await.expect("a token");
        let same = credential.instead_of(&first).await.expect("a token");
        assert!(same.is_none(), "the machine's was fetched just now");
        server.clock.forward(FRESH);
        let second = credential.instead_of(&first).await.expect("a token");
        let second = second.expect("another one");
        // Who comes later with the old one gets the one that is held.
        let third = credential.instead_of(&first).await.expect("a token");
        assert!(third.expect("another one").is(&second));
        assert!(credential.token().await.expect("a token").is(&second));
    }
}
