//! A tenant's token: bought when it is first needed, by one caller for all, and used until shortly
//! before its end. It lives no longer than its client, which is at most `proofTTL`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::classify;
use super::source::{Bought, Source};
use crate::clock::{Clock, Moment, SystemClock};
use crate::credentials::Secret;
use crate::provider::Failure;

/// For one token, whatever it takes to get it.
const DEADLINE: Duration = Duration::from_secs(8);
/// A token is not used in its last seconds: it would end on its way.
const MARGIN: Duration = Duration::from_secs(30);

pub struct Credential {
    source: Source,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
}

struct Held {
    token: Arc<Secret>,
    seen: Option<String>,
    at: Moment,
    life: Duration,
}

/// A token in use, and the address of the machine's service account, for hints.
pub struct Use {
    pub token: Arc<Secret>,
    pub seen: Option<String>,
}

impl Credential {
    pub fn new(source: Source) -> Self {
        Self {
            source,
            clock: Arc::new(SystemClock),
            held: Mutex::default(),
        }
    }

    pub async fn token(&self) -> Result<Use, Failure> {
        let bought = async {
            let mut held = self.held.lock().await;
            let now = self.clock.now();
            if let Some(held) = held.as_ref().filter(|held| held.lasts(now)) {
                return Ok(held.usable());
            }
            let Bought { token, life, seen } = self.source.token().await?;
            // Dated before it was asked for, so that it never looks younger than it is.
            let new = Held {
                token: Arc::new(token),
                seen,
                at: now,
                life,
            };
            Ok(held.insert(new).usable())
        };
        tokio::time::timeout(DEADLINE, bought)
            .await
            .unwrap_or_else(|_| Err(classify::silent(self.source.service())))
    }
}

impl Held {
    fn lasts(&self, now: Moment) -> bool {
        now.agrees_with(self.at) && now.since(self.at) + MARGIN < self.life
    }

    fn usable(&self) -> Use {
        Use {
            token: self.token.clone(),
            seen: self.seen.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_before_its_end_on_either_clock() {
        let at = Moment {
            boot: Duration::from_secs(1_000),
            wall: Duration::from_mins(150),
        };
        let held = Held {
            token: Arc::new(Secret::from_bytes(b"t".to_vec()).expect("a text")),
            seen: None,
            at,
            life: Duration::from_secs(100),
        };
        assert!(held.lasts(at.after(Duration::from_secs(69))));
        assert!(!held.lasts(at.after(Duration::from_secs(70))));
        let set = Moment {
            boot: at.boot,
            wall: at.wall + Duration::from_secs(10),
        };
        assert!(!held.lasts(set), "the clock was set");
    }
}
