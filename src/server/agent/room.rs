//! Room for what calls bring along: so many bodies may be in memory at once. One caller, and all callers
//! that belong together, take so much less of it that they cannot keep all others out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::lock::lock;

/// For data, in KiB: each body is in memory a few times over.
const DATA: usize = 16 * 1024;
/// For who asks for a session, and may have no right to any.
const SESSIONS: usize = 4 * 1024;
/// Of sixteen parts.
const ONE_CALLER: usize = 3;
const ONE_GROUP: usize = 5;
/// How long a body waits for room.
const PATIENCE: Duration = Duration::from_secs(1);
/// Those without a body are forgotten when there are so many.
const TIDY: usize = 1024;

type Digest = [u8; 32];

#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    callers: Shares<Digest>,
    groups: Shares<String>,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    _permits: [OwnedSemaphorePermit; 3],
}

impl Room {
    pub fn for_data() -> Self {
        Self::new(DATA)
    }

    pub fn for_sessions() -> Self {
        Self::new(SESSIONS)
    }

    fn new(all: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            callers: Shares::new(all / 16 * ONE_CALLER),
            groups: Shares::new(all / 16 * ONE_GROUP),
        }
    }

    /// Waits for room for `bytes` of this caller, who belongs to `group`, but not long.
    pub async fn take(&self, caller: &Digest, group: String, bytes: usize) -> Option<Place> {
        let cost = u32::try_from(bytes / 1024 + 1).ok()?;
        let of_caller = self.callers.of(*caller);
        let of_group = self.groups.of(group);
        let place = async {
            // In this order nobody holds what others wait for while it waits for its own.
            let permits = [
                of_caller.acquire_many_owned(cost).await.ok()?,
                of_group.acquire_many_owned(cost).await.ok()?,
                self.all.clone().acquire_many_owned(cost).await.ok()?,
            ];
            Some(Place { _permits: permits })
        };
        timeout(PATIENCE, place).await.ok().flatten()
    }
}

/// What each of many may take.
#[derive(Debug)]
struct Shares<K> {
    each: usize,
    taken: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Eq + Hash> Shares<K> {
    fn new(each: usize) -> Self {
        Self {
            each,
            taken: Mutex::default(),
        }
    }

    fn of(&self, key: K) -> Arc<Semaphore> {
        let mut taken = lock(&self.taken);
        if let Some(own) = taken.get(&key).and_then(Weak::upgrade) {
            return own;
        }
        if taken.len() >= TIDY {
            taken.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(self.each));
        taken.insert(key, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// All the places that this caller gets.
    async fn greedy(room: &Room, caller: u8, group: &str) -> Vec<Place> {
        let mut places = Vec::new();
        while let Some(place) = room.take(&[caller; 32], group.to_owned(), MIB - 1024).await {
            places.push(place);
        }
        places
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_and_all_of_a_tenant_leave_room_for_others_and_all_together_have_an_end() {
        let room = Room::for_data();
        let mut one = greedy(&room, 1, "a/a").await;
        assert_eq!(one.len(), 3, "of one caller");
        let two = greedy(&room, 2, "a/a").await;
        assert_eq!(two.len(), 2, "of one tenant");
        assert!(greedy(&room, 3, "a/a").await.is_empty(), "a third pod");
        let mut others = Vec::new();
        for (caller, group) in [(4, "a/b"), (5, "a/b"), (6, "b/a"), (7, "b/a"), (8, "b/b")] {
            others.extend(greedy(&room, caller, group).await);
        }
        assert_eq!(others.len(), 11, "all there is");
        assert!(greedy(&room, 9, "c/c").await.is_empty());
        one.pop();
        assert_eq!(greedy(&room, 9, "c/c").await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_body_is_forgotten() {
        let room = Room::for_sessions();
        for caller in 0..3000_u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&caller.to_be_bytes());
            assert!(room.take(&digest, caller.to_string(), 1).await.is_some());
        }
        let (callers, groups) = (
            lock(&room.callers.taken).len(),
            lock(&room.groups.taken).len(),
        );
        assert!(callers <= TIDY && groups <= TIDY, "{callers}, {groups}");
    }
}
