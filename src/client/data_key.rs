//! A data key in the workload's hands, for as long as the operator lets it be kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

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
    /// `plaintext` as it came, by a session that ends at `session`.
    pub(super) fn new(
        plaintext: &str,
        ciphertext: Ciphertext,
        keep_until: Timestamp,
        session: Moment,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let plaintext = wire::secret_bytes(plaintext).filter(|key| key.len() == 32);
        Ok(Self {
            plaintext: plaintext.ok_or_else(Error::not_understood)?,
            ciphertext,
            keep_until,
            end: end(keep_until, session, clock.now()),
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

/// The sooner one: what the operator names, by this machine's wall clock, or the end of the session.
fn end(keep_until: Timestamp, session: Moment, now: Moment) -> Moment {
    let named = u64::try_from(keep_until.as_second()).unwrap_or(0);
    let named = now.after(Duration::from_secs(named).saturating_sub(now.wall));
    Moment {
        boot: named.boot.min(session.boot),
        wall: named.wall.min(session.wall),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::clock::tests::Hand;

    /// Made at 1000 s by the wall clock: until when it may be kept, and how its session ends.
    fn key(keep_until: i64, boot: u64, wall: u64) -> (DataKey, Arc<Hand>) {
        let clock = Arc::new(Hand::default());
        let now = clock.now();
        let sealed = Ciphertext {
            bytes: Vec::new(),
            key_id: String::new(),
        };
        let session = Moment {
            boot: now.boot + Duration::from_secs(boot),
            wall: now.wall + Duration::from_secs(wall),
        };
        let until = Timestamp::from_second(keep_until).expect("time");
        let text = STANDARD.encode([7; 32]);
        let key = DataKey::new(&text, sealed, until, session, clock.clone());
        (key.expect("a key"), clock)
    }

    /// The wall clock can be set, and the other misses what passed while a machine was frozen.
    #[test]
    fn it_ends_by_whichever_clock_and_whichever_time_is_first() {
        for (keep_until, boot, wall, usable) in [
            (1_001, 1, 1, true),
            (1_001, 0, 1, false),
            (1_001, 1, 0, false),
            (1_000, 1, 1, false),
            (0, 1, 1, false),
            (-1, 1, 1, false),
        ] {
            let (key, _) = key(keep_until, boot, wall);
            let said = format!("until {keep_until}, session {boot} s and {wall} s");
            assert_eq!(key.expose().is_some(), usable, "{said}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_lengthens_nothing() {
        let (key, clock) = key(1_060, 300, 300);
        clock.forward(Duration::from_secs(59));
        assert!(key.expose().is_some());
        clock.set_back(Duration::from_secs(59));
        clock.forward(Duration::from_secs(1));
        assert!(key.expose().is_none());
    }
}
