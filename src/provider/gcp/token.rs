//! An access token, and how long it may be used. A token becomes a header of the next request, so its
//! form is checked.

use std::sync::Arc;
use std::time::Duration;

use super::wire::OauthToken;
use crate::clock::Moment;
use crate::credentials::Secret;
use crate::provider::answer::Answer;

/// A token is not used in its last seconds: it would end on its way.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Token {
    pub secret: Arc<Secret>,
    /// Before it was asked for, so that it never looks younger than it is.
    at: Moment,
    life: Duration,
    /// The address of the machine's service account, as the metadata server told it, for hints.
    pub seen: Option<String>,
}

impl Token {
    /// `None` when it could not be a header.
    pub fn new(text: String, at: Moment, life: Duration) -> Option<Self> {
        let sound =
            (1..=16_384).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let secret = sound.then(|| Secret::from_bytes(text.into_bytes()).ok());
        Some(Self {
            secret: Arc::new(secret??),
            at,
            life,
            seen: None,
        })
    }

    /// From an answer of the metadata server or of STS.
    pub fn of(answer: &Answer, at: Moment) -> Option<Self> {
        let said: OauthToken = serde_json::from_slice(answer.body()).ok()?;
        Self::new(said.access_token, at, Duration::from_secs(said.expires_in))
    }

    /// Whether the two are one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.secret, &other.secret)
    }

    /// How long it may be used, from when it was asked for.
    pub fn usable(&self) -> Duration {
        self.life.saturating_sub(MARGIN)
    }

    /// Whether it may be used now, and was not used for `longest` yet.
    pub fn lasts(&self, now: Moment, longest: Duration) -> bool {
        now.is_within(longest.min(self.usable()), self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment {
        boot: Duration::from_secs(1_000),
        wall: Duration::from_mins(150),
    };

    fn token(text: &str, life: u64) -> Option<Token> {
        Token::new(text.to_owned(), AT, Duration::from_secs(life))
    }

    #[test]
    fn what_becomes_a_header_has_a_harmless_form() {
        assert!(token("ya29.c.abc", 1).is_some());
        for bad in ["", "a b", "a\r\nx: y", "ä"] {
            assert!(token(bad, 1).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_ends_before_its_end_and_with_its_longest_use_on_either_clock() {
        let after = |seconds| AT.after(Duration::from_secs(seconds));
        let longest = Duration::from_mins(5);
        let short = token("t", 100).expect("a token");
        assert!(short.lasts(after(69), longest));
        assert!(!short.lasts(after(70), longest));
        let long = token("t", 3_600).expect("a token");
        assert!(long.lasts(after(299), longest));
        assert!(!long.lasts(after(300), longest));
        let set = Moment {
            boot: AT.boot,
            wall: AT.wall + Duration::from_secs(10),
        };
        assert!(!long.lasts(set, longest), "the clock was set");
    }
}
