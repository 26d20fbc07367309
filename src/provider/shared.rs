//! What the operator's own identity is given, one token or session for all tenants that use it: fetched by one
//! at a time, and nobody waits for that who may use the one that is held.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Failure;
use crate::clock::{Clock, Moment};
use crate::lock::lock;
use crate::random::fraction;

/// For one, whatever it takes to fetch it: a part of what a tenant's own token or session may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long one is used: the shortest `proofTTL` there is.
pub const LONGEST: Duration = Duration::from_mins(1);
/// How old a fresh one may be. A metadata service gives the same until minutes before its end, so that asking
/// more often tells nothing, and a thousand tenants that are denied must not ask for each of them.
pub const FRESH: Duration = Duration::from_secs(10);
/// Once to twice as long before the end of the held one the next is fetched, so that nobody waits for it.
const EARLY: Duration = DEADLINE;
/// From the end of one fetch to the next: who needs one before waits for it.
const PAUSE: Duration = Duration::from_secs(1);

// What somebody waits for, whenever it was begun, is fresh enough.
const _: () = assert!(PAUSE.as_secs() + DEADLINE.as_secs() < FRESH.as_secs());

/// A clone shares what is held.
pub struct Shared<T> {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    held: Option<Held<T>>,
    /// The fetch that is under way.
    flight: Option<Flight<T>>,
    /// When the last one ended.
    landed: Option<Moment>,
}

struct Held<T> {
    value: T,
    /// Before it was asked for, so that it never looks younger than it is.
    at: Moment,
    /// The age at which it is used no more, and the one from which on the next is fetched.
    life: Duration,
    due: Duration,
}

/// `None` until it ended.
type Flight<T> = watch::Receiver<Option<Result<T, Failure>>>;

/// What somebody gets.
enum Step<T> {
    Use(T),
    /// Use this one, and fetch the next meanwhile.
    Renew(T),
    Wait(Flight<T>),
    Fetch,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            clock: self.clock.clone(),
            state: self.state.clone(),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            held: None,
            flight: None,
            landed: None,
        };
        Self {
            clock,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// One that was fetched after `since`, or less than [`FRESH`] before: where a no is to be heard again. `fetch`
    /// tells with its value how long it may be used; `late` is what it means that none came in time.
    pub async fn get<F>(
        &self,
        since: Option<Moment>,
        fetch: impl FnOnce() -> F,
        late: impl Fn() -> Failure,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<(T, Duration), Failure>> + Send + 'static,
    {
        let mut flight = {
            let mut state = self.lock();
            let now = self.clock.now();
            match state.step(now, since) {
                Step::Use(held) => return Ok(held),
                Step::Renew(held) => {
                    self.begin(&mut state, now, fetch(), late());
                    return Ok(held);
                }
                Step::Wait(flight) => flight,
                Step::Fetch => self.begin(&mut state, now, fetch(), late()),
            }
        };
        // Bounded: a fetch ends in time, or with its task.
        let landed = flight.wait_for(Option::is_some).await;
        let landed = landed.ok().and_then(|landed| landed.clone());
        landed.unwrap_or_else(|| Err(late()))
    }

    /// In a task of its own, which goes on when whoever began it waits no more.
    fn begin(
        &self,
        state: &mut State<T>,
        now: Moment,
        fetch: impl Future<Output = Result<(T, Duration), Failure>> + Send + 'static,
        late: Failure,
    ) -> Flight<T> {
        let (landed, flight) = watch::channel(None);
        state.flight = Some(flight.clone());
        let (shared, pause) = (self.clone(), state.pause(now));
        tokio::spawn(async move {
            sleep(pause).await;
            let at = shared.now();
            let fetched = timeout(DEADLINE, fetch).await.unwrap_or(Err(late));
            let fetched = fetched.map(|(value, life)| Held::new(value, at, life, fraction()));
            let told = fetched.as_ref().map(|held| held.value.clone());
            let told = told.map_err(Clone::clone);
            shared.lock().land(fetched.ok(), shared.now());
            landed.send_replace(Some(told));
        });
        flight
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

impl<T: Clone> State<T> {
    fn step(&self, now: Moment, since: Option<Moment>) -> Step<T> {
        let held = self.held.as_ref();
        let held = held.filter(|held| held.is_usable(now, since));
        // One whose task is gone brings nothing.
        let flight = self.flight.as_ref();
        let flight = flight.filter(|flight| flight.has_changed().is_ok());
        match (held, flight) {
            (Some(held), None) if held.is_due(now) => Step::Renew(held.value.clone()),
            (Some(held), _) => Step::Use(held.value.clone()),
            (None, Some(flight)) => Step::Wait(flight.clone()),
            (None, None) => Step::Fetch,
        }
    }

    fn pause(&self, now: Moment) -> Duration {
        let landed = self.landed.map(|landed| now.since(landed));
        landed.map_or(Duration::ZERO, |past| PAUSE.saturating_sub(past))
    }

    /// What failed leaves the held one in its place.
    fn land(&mut self, fetched: Option<Held<T>>, now: Moment) {
        self.flight = None;
        self.landed = Some(now);
        if fetched.is_some() {
            self.held = fetched;
        }
    }
}

impl<T> Held<T> {
    /// `jitter` from 0 to 1.
    fn new(value: T, at: Moment, life: Duration, jitter: f64) -> Self {
        let life = life.min(LONGEST);
        let early = EARLY.mul_f64(1.0 + jitter);
        Self {
            value,
            at,
            life,
            due: life.saturating_sub(early).max(FRESH),
        }
    }

    fn is_usable(&self, now: Moment, since: Option<Moment>) -> bool {
        let fresh = since.is_none_or(|since| since.since(self.at) < FRESH);
        fresh && now.is_within(self.life, self.at)
    }

    fn is_due(&self, now: Moment) -> bool {
        now.since(self.at) >= self.due
    }
}

#[cfg(test)]
mod tests;
