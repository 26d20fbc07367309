//! A data key in the workload's hands, for as long as the operator lets it be kept.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::sessions::Session;
use super::wire;
use super::{Ciphertext, Error};
use crate::clock::{Clock, Moment};

/// A key for data that is too large or too much for a call each. It can be used until
/// [`DataKey::keep_until`], and not printed; it is overwritten when it is dropped.
pub struct DataKey {
    plaintext: Zeroizing<Vec<u8>>,
    ciphertext: Ciphertext,
    keep_until: Timestamp,
    end: Moment,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey")
            .field("key_id", &self.ciphertext.key_id)
            .field("keep_until", &self.keep_until)
            .finish_non_exhaustive()
    }
}

impl DataKey {
    /// `plaintext` as it came, by this session.
    pub(super) fn new(
        plaintext: &str,
        ciphertext: Ciphertext,
        keep_until: Timestamp,
        session: &Session,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let plaintext = wire::secret_bytes(plaintext).filter(|key| key.len() == 32);
        Ok(Self {
            plaintext: plaintext.ok_or_else(Error::not_understood)?,
            ciphertext,
            keep_until,
            end: session.translate(keep_until),
            clock,
        })
    }

    /// The 32 bytes. `None` when their time is over: drop this, and get the key again by
    /// [`super::Client::open_data_key`]. **A copy that is kept for longer defeats sealing.**
    pub fn expose(&self) -> Option<&[u8]> {
        let now = self.clock.now();
        let over = now.boot >= self.end.boot || now.wall >= self.end.wall;
        (!over).then_some(&**self.plaintext)
    }

    /// To be stored beside the data.
    pub fn ciphertext(&self) -> &Ciphertext {
        &self.ciphertext
    }

    /// By the operator's clock: the end of the session, or sooner where the tenant's terms have changed
    /// since it began.
    pub fn keep_until(&self) -> Timestamp {
        self.keep_until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::clock::tests::Hand;

    /// Of a session of five minutes, until so many seconds before its end.
    fn key(sooner: i64) -> (DataKey, Arc<Hand>) {
        let clock = Arc::new(Hand::default());
        let sealed = Ciphertext {
            bytes: Vec::new(),
            key_id: String::new(),
        };
        // The operator's clock is years ahead of this one.
        let expires = Timestamp::from_second(2_000_000_000).expect("time");
        let session = Session::new("", clock.now(), Duration::from_mins(5), expires);
        let until = expires - jiff::SignedDuration::from_secs(sooner);
        let text = STANDARD.encode([7; 32]);
        let key = DataKey::new(&text, sealed, until, &session, clock.clone());
        (key.expect("a key"), clock)
    }

    #[test]
    fn it_ends_when_the_operator_says_and_with_its_session() {
        for (sooner, lasts) in [
            (0, 300),
            (240, 60),
            (299, 1),
            (300, 0),
            (900, 0),
            (-60, 300),
        ] {
            let (key, clock) = key(sooner);
            assert_eq!(key.expose().is_some(), lasts > 0, "{sooner}");
            clock.forward(Duration::from_secs(lasts).saturating_sub(Duration::from_millis(1)));
            assert_eq!(key.expose().is_some(), lasts > 0, "{sooner}");
            clock.forward(Duration::from_millis(1));
            assert!(key.expose().is_none(), "{sooner}");
        }
    }

    /// The wall clock can be set, and the other misses what passed while a machine was frozen.
    #[test]
    fn it_ends_by_whichever_clock_is_first() {
        let (key, clock) = key(240);
        clock.forward(Duration::from_secs(59));
        assert!(key.expose().is_some());
        clock.set_back(Duration::from_secs(59));
        assert!(key.expose().is_some());
        clock.forward(Duration::from_secs(1));
        assert!(key.expose().is_none());

        let (key, clock) = self::key(240);
        clock.set_forward(Duration::from_mins(1));
        assert!(key.expose().is_none());
    }
}
