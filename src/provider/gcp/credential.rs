//! A tenant's token: bought when it is first needed, by one caller for all, and used until shortly
//! before its end, but for at most `proofTTL`: so a no at the identity services is heard.

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
        let until = Instant::now() + DEADLINE;
        let mut held = timeout_at(until, self.held.lock())
            .await
            .map_err(|_| classify::silent(self.source.service()))?;
        let now = self.clock.now();
        if let Some(held) = held.as_ref().filter(|held| held.lasts(now, self.longest)) {
            return Ok(held.clone());
        }
        let new = self.source.token(now, until).await?;
        Ok(held.insert(new).clone())
    }
}
