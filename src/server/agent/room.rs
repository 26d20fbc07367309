//! Room for what calls bring along: so many bodies may be in memory at once, and of one caller so many
//! less that it cannot keep all others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::controller::context::lock;

/// In KiB: each body is in memory a few times over.
const ALL: u32 = 16 * 1024;
const ONE_CALLER: u32 = ALL / 4;
/// How long a body waits for room.
const PATIENCE: Duration = Duration::from_secs(1);
/// Callers without a body are forgotten when there are so many.
const TIDY: usize = 1024;

type Digest = [u8; 32];

#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    callers: Mutex<HashMap<Digest, Weak<Semaphore>>>,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    _of_caller: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    _caller: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(ALL as usize)),
            callers: Mutex::default(),
        }
    }
}

impl Room {
    /// Waits for room for `bytes` of this caller, but not long.
    pub async fn take(&self, caller: &Digest, bytes: usize) -> Option<Place> {
        let cost = u32::try_from(bytes / 1024 + 1).unwrap_or(ALL);
        let own = self.of(caller);
        let place = async {
            let of_caller = own.clone().acquire_many_owned(cost).await.ok()?;
            let of_all = self.all.clone().acquire_many_owned(cost).await.ok()?;
            Some(Place {
                _of_caller: of_caller,
                _of_all: of_all,
                _caller: own,
            })
        };
        timeout(PATIENCE, place).await.ok().flatten()
    }

    fn of(&self, caller: &Digest) -> Arc<Semaphore> {
        let mut callers = lock(&self.callers);
        if let Some(own) = callers.get(caller).and_then(Weak::upgrade) {
            return own;
        }
        if callers.len() >= TIDY {
            callers.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(ONE_CALLER as usize));
        callers.insert(*caller, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn one_caller_leaves_room_for_others_and_all_together_have_an_end() {
        let room = Room::default();
        let mut places = Vec::new();
        while let Some(place) = room.take(&[1; 32], MIB - 1024).await {
            places.push(place);
        }
        assert_eq!(places.len(), 4);
        for caller in 2..=4 {
            for _ in 0..4 {
                let place = room.take(&[caller; 32], MIB - 1024).await;
                places.push(place.expect("room for another"));
            }
        }
        assert!(room.take(&[5; 32], MIB - 1024).await.is_none(), "full");
        places.truncate(3);
        assert!(room.take(&[1; 32], MIB - 1024).await.is_some());
        assert!(room.take(&[5; 32], MIB - 1024).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_body_is_forgotten() {
        let room = Room::default();
        for caller in 0..3000_u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&caller.to_be_bytes());
            assert!(room.take(&digest, 1).await.is_some());
        }
        let callers = room.callers.lock().expect("lock").len();
        assert!(callers <= TIDY, "{callers}");
    }
}
