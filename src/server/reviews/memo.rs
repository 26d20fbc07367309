//! Asks at most once at a time for the same thing, remembers the answer, and lets what is held
//! stand in while there is none. Everything that waits does so in bounded number and time, and of one
//! who asks (`A`) so many less that it cannot keep all others from asking.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::remembered::{Step, Terms, Trouble, Verdict};
use super::store::{Key, Store};
use crate::clock::Clock;
use crate::lock::lock;

/// For one review.
const DEADLINE: Duration = Duration::from_secs(2);
/// For its turn.
const TURN: Duration = Duration::from_secs(1);
/// Reviews of one kind at the API server; there are two kinds, so that a flood of tokens delays
/// no access review.
pub const IN_FLIGHT: usize = 32;
/// Reviews that are under way or wait for their turn, and requests that wait for a review.
pub const QUEUE: usize = 512;
pub const WAITING: usize = 4096;

type Answer<V, N> = Result<Verdict<V, N>, Trouble>;
type Told<V, N> = watch::Receiver<Option<Answer<V, N>>>;

/// Why a request gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied<N> {
    No(N),
    Trouble(Trouble),
}

/// The memory of one kind of review.
pub struct Memo<A, V, N> {
    kind: &'static str,
    /// As many of the queue's places may be taken by one who asks.
    of_one: usize,
    clock: Arc<dyn Clock>,
    store: Store<V, N>,
    under_way: Mutex<All<A, V, N>>,
    turns: Semaphore,
    waiting: Semaphore,
    silent: AtomicBool,
}

/// The reviews that are under way, and how many of them each asks for.
struct All<A, V, N> {
    told: HashMap<Key, Told<V, N>>,
    of: HashMap<A, usize>,
}

impl<A, V, N> Memo<A, V, N>
where
    A: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    N: Clone + Send + Sync + 'static,
{
    pub fn new(
        kind: &'static str,
        terms: Terms,
        of_one: usize,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            kind,
            of_one,
            clock,
            store: Store::new(terms),
            under_way: Mutex::new(All {
                told: HashMap::new(),
                of: HashMap::new(),
            }),
            turns: Semaphore::new(IN_FLIGHT),
            waiting: Semaphore::new(WAITING),
            silent: AtomicBool::new(false),
        })
    }

    /// The answer that is remembered, then without an await, or else a new one. `review` says how
    /// to ask, or that there is nothing to ask.
    pub async fn answer<F>(
        self: &Arc<Self>,
        asker: &A,
        key: Key,
        review: impl FnOnce() -> Result<F, N>,
    ) -> Result<V, Denied<N>>
    where
        F: Future<Output = Answer<V, N>> + Send + 'static,
    {
        match self.store.step(&key, self.clock.now()) {
            Step::Serve(value) => Ok(value),
            Step::ServeAndAsk(value) => {
                if let Ok(review) = review() {
                    self.join(asker, key, review);
                }
                Ok(value)
            }
            Step::Refuse(why) => Err(Denied::No(why)),
            Step::Fail(trouble) => Err(Denied::Trouble(trouble)),
            Step::Ask => self.ask(asker, key, review().map_err(Denied::No)?).await,
        }
    }

    async fn ask(
        self: &Arc<Self>,
        asker: &A,
        key: Key,
        review: impl Future<Output = Answer<V, N>> + Send + 'static,
    ) -> Result<V, Denied<N>> {
        let answer = match (self.waiting.try_acquire(), self.join(asker, key, review)) {
            (Ok(_place), Some(mut told)) => match told.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone().unwrap_or(Err(Trouble::Silent)),
                Err(_) => Err(Trouble::Silent), // the runtime is shutting down
            },
            _ => Err(Trouble::Busy),
        };
        match answer {
            Ok(Verdict::Yes { value, .. }) => Ok(value),
            Ok(Verdict::No(why)) => Err(Denied::No(why)),
            Err(trouble) => {
                let held = self.store.held(&key, trouble, self.clock.now());
                held.ok_or(Denied::Trouble(trouble))
            }
        }
    }

    /// The review of `key` that is under way, begun if there is none; `None`: there is no room.
    /// It goes on whether or not somebody waits for it.
    fn join(
        self: &Arc<Self>,
        asker: &A,
        key: Key,
        review: impl Future<Output = Answer<V, N>> + Send + 'static,
    ) -> Option<Told<V, N>> {
        let mut all = lock(&self.under_way);
        if let Some(told) = all.told.get(&key) {
            return Some(told.clone());
        }
        let of_one = all.of.get(asker).copied().unwrap_or(0);
        if all.told.len() >= QUEUE || of_one >= self.of_one {
            return None;
        }
        let (tell, told) = watch::channel(None);
        all.told.insert(key, told.clone());
        all.of.insert(asker.clone(), of_one + 1);
        drop(all);
        let under_way = UnderWay {
            memo: self.clone(),
            asker: asker.clone(),
            key,
        };
        tokio::spawn(run(under_way, review, tell));
        Some(told)
    }

    /// Says when the answers stop and when they come again, and not of each.
    fn tell_change(&self, answer: &Answer<V, N>) {
        let trouble = answer.as_ref().err();
        let silent = trouble.is_some();
        if self.silent.swap(silent, Ordering::Relaxed) == silent {
            return;
        }
        if let Some(trouble) = trouble {
            warn!(review = self.kind, ?trouble, "reviews get no answer");
        } else {
            info!(review = self.kind, "reviews are answered again");
        }
    }
}

async fn run<A, V, N>(
    under_way: UnderWay<A, V, N>,
    review: impl Future<Output = Answer<V, N>>,
    tell: watch::Sender<Option<Answer<V, N>>>,
) where
    A: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    N: Clone + Send + Sync + 'static,
{
    let memo = &under_way.memo;
    let turn = timeout(TURN, memo.turns.acquire()).await;
    let at = memo.clock.now();
    let answer = match &turn {
        Ok(_) => timeout(DEADLINE, review)
            .await
            .unwrap_or(Err(Trouble::Silent)),
        Err(_) => Err(Trouble::Busy),
    };
    drop(turn);
    memo.store
        .record(under_way.key, &answer, at, memo.clock.now());
    memo.tell_change(&answer);
    // Only now, so that whoever comes later finds what is remembered.
    drop(under_way);
    tell.send_replace(Some(answer));
}

/// Takes a review off the list however it ends.
struct UnderWay<A: Eq + Hash, V, N> {
    memo: Arc<Memo<A, V, N>>,
    asker: A,
    key: Key,
}

impl<A: Eq + Hash, V, N> Drop for UnderWay<A, V, N> {
    fn drop(&mut self) {
        let mut all = lock(&self.memo.under_way);
        all.told.remove(&self.key);
        if let Some(of_one) = all.of.get_mut(&self.asker) {
            *of_one -= 1;
            if *of_one == 0 {
                all.of.remove(&self.asker);
            }
        }
    }
}
