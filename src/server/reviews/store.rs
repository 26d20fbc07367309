//! The reviews that are remembered: bounded, in shards, so that a look is one short lock. What was
//! refused can never push out what was allowed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use super::remembered::{Failed, Other, Step, Terms, Trouble, Verdict, Yes};
use crate::clock::Moment;
use crate::lock::lock;
use crate::random;

/// SHA-256 of everything that the answer depends on.
pub type Key = [u8; 32];

const SHARDS: usize = 64;
/// For each of the two kinds of entries.
const PER_SHARD: usize = 50_000 / SHARDS;

pub struct Store<V, N> {
    terms: Terms,
    shards: Box<[Mutex<Shard<V, N>>]>,
}

struct Shard<V, N> {
    yes: Bounded<Yes<V>>,
    other: Bounded<Other<N>>,
}

impl<V: Clone, N: Clone> Store<V, N> {
    pub fn new(terms: Terms) -> Self {
        let shard = |_| {
            Mutex::new(Shard {
                yes: Bounded::new(PER_SHARD),
                other: Bounded::new(PER_SHARD),
            })
        };
        Self {
            terms,
            shards: (0..SHARDS).map(shard).collect(),
        }
    }

    pub fn step(&self, key: &Key, now: Moment) -> Step<V, N> {
        let shard = self.lock(key);
        let yes = shard.yes.get(key);
        let step = yes.and_then(|yes| yes.step(now, &self.terms));
        let other = || shard.other.get(key)?.step(now, &self.terms);
        step.or_else(other).unwrap_or(Step::Ask)
    }

    /// What may be relied on after a try that ended so.
    pub fn held(&self, key: &Key, trouble: Trouble, now: Moment) -> Option<V> {
        let shard = self.lock(key);
        let yes = shard.yes.get(key)?;
        let stands = yes.stands(trouble, now, &self.terms);
        stands.then(|| yes.value.clone())
    }

    /// `at` is when the answer was asked for, `now` when it is known.
    pub fn record(
        &self,
        key: Key,
        answer: &Result<Verdict<V, N>, Trouble>,
        at: Moment,
        now: Moment,
    ) {
        let mut shard = self.lock(&key);
        match answer {
            Ok(Verdict::Yes { value, until }) => {
                shard.other.remove(&key);
                let yes = Yes {
                    value: value.clone(),
                    at,
                    until: *until,
                    early: self.terms.early(random::fraction()),
                    failed: None,
                };
                let over = |yes: &Yes<V>| !yes.holds(now, &self.terms);
                shard.yes.insert(key, yes, over);
            }
            Ok(Verdict::No(why)) => {
                shard.yes.remove(&key);
                let why = why.clone();
                shard.put(key, Other::No { why, at }, now, &self.terms);
            }
            Err(trouble) => {
                let failed = Failed::new(*trouble, now, random::fraction());
                match shard.yes.get_mut(&key) {
                    Some(yes) if yes.holds(now, &self.terms) => yes.failed = Some(failed),
                    _ => shard.put(key, Other::Failed(failed), now, &self.terms),
                }
            }
        }
    }

    fn lock(&self, key: &Key) -> MutexGuard<'_, Shard<V, N>> {
        lock(&self.shards[usize::from(key[0]) % SHARDS])
    }
}

impl<V, N: Clone> Shard<V, N> {
    fn put(&mut self, key: Key, other: Other<N>, now: Moment, terms: &Terms) {
        let over = |other: &Other<N>| other.step::<()>(now, terms).is_none();
        self.other.insert(key, other, over);
    }
}

/// A map that forgets the oldest. Entries of one kind live about equally long, so the oldest are
/// also the first to be worth nothing.
struct Bounded<T> {
    most: usize,
    entries: HashMap<Key, (u64, T)>,
    /// In the order of insertion; an older number than the entry's is of one that was replaced.
    order: VecDeque<(u64, Key)>,
    next: u64,
}

impl<T> Bounded<T> {
    fn new(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        }
    }

    fn get(&self, key: &Key) -> Option<&T> {
        self.entries.get(key).map(|(_, value)| value)
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    fn remove(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    /// Also forgets up to two old entries that are `over`, so that they do not pile up.
    fn insert(&mut self, key: Key, value: T, over: impl Fn(&T) -> bool) {
        self.entries.insert(key, (self.next, value));
        self.order.push_back((self.next, key));
        self.next += 1;
        let mut spare = 2;
        while let Some((number, oldest)) = self.order.front().copied() {
            let full = self.entries.len() > self.most;
            if !full && spare == 0 {
                break;
            }
            let entry = self.entries.get(&oldest);
            if let Some((_, value)) = entry.filter(|(of, _)| *of == number) {
                if !full && !over(value) {
                    break;
                }
                self.entries.remove(&oldest);
            }
            self.order.pop_front();
            spare = usize::saturating_sub(spare, 1);
        }
        if self.order.len() > 2 * self.most {
            let entries = &self.entries;
            let current = |number: u64, key: &Key| entries.get(key).is_some_and(|e| e.0 == number);
            self.order.retain(|(number, key)| current(*number, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(i: u32) -> Key {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&i.to_be_bytes());
        key
    }

    #[test]
    fn the_oldest_make_room() {
        let mut bounded = Bounded::new(3);
        for i in [0, 1, 2, 0, 3] {
            bounded.insert(key(i), i, |_| false);
        }
        let kept = [0, 1, 2, 3].map(|i| bounded.get(&key(i)).is_some());
        assert_eq!(kept, [true, false, true, true], "0 was renewed");
        assert_eq!(bounded.entries.len(), 3);
    }

    #[test]
    fn what_is_over_goes_without_need() {
        let mut bounded = Bounded::new(100);
        for i in 0..10 {
            bounded.insert(key(i), i, |_| false);
        }
        for i in 10..20 {
            bounded.insert(key(i), i, |old| *old < 10);
        }
        assert!((0..10).all(|i| bounded.get(&key(i)).is_none()));
        assert_eq!(bounded.entries.len(), 10);
        assert_eq!(bounded.order.len(), 10);
    }

    #[test]
    fn an_entry_that_is_renewed_for_ever_stays_small() {
        let mut bounded = Bounded::new(10);
        for i in 0..1_000 {
            bounded.insert(key(u32::from(i > 0)), i, |_| false);
            assert!(bounded.order.len() <= 20, "{i}");
        }
        assert_eq!(bounded.get(&key(0)), Some(&0));
        assert_eq!(bounded.get(&key(1)), Some(&999));
    }
}
