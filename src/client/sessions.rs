//! One session per tenant: opened by the first call, by one request however many calls wait for it,
//! and renewed before it ends for as long as it is used, so that no call waits for that.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::error::{Backoff, Category, Error, Kind};
use super::transport::Transport;
use super::wire::{self, SessionAnswer, SessionRequest};
use crate::clock::{Clock, Moment};
use crate::lock::lock;
use crate::random;

/// Twice the tenants of one operator would be many for one workload; beyond it, who ends first goes.
const TENANTS: usize = 10_000;
/// The operator's sessions are far shorter; an answer beyond it is not believed.
const LONGEST: Duration = Duration::from_hours(24);
const SOONEST: Duration = Duration::from_secs(1);

/// What every session of a client needs.
pub(super) struct Shop {
    pub transport: Transport,
    pub clock: Arc<dyn Clock>,
    pub deadline: Duration,
}

pub(super) struct Session {
    token: Zeroizing<String>,
    /// Before the request was sent: the session is never thought to last longer than it does.
    begun: Moment,
    ttl: Duration,
    /// By the operator's clock.
    expires: Timestamp,
    used: Notify,
}

impl Session {
    pub fn new(token: &str, begun: Moment, ttl: Duration, expires: Timestamp) -> Self {
        Self {
            token: Zeroizing::new(token.to_owned()),
            begun,
            ttl,
            expires,
            used: Notify::new(),
        }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// The end of the session, by the caller's clock.
    pub fn end(&self) -> Moment {
        self.begun.after(self.ttl)
    }

    /// By the caller's clock, what the operator names by its own: as long before the end of the session,
    /// whatever the one clock is ahead of the other.
    pub fn translate(&self, named: Timestamp) -> Moment {
        let sooner = Duration::try_from(self.expires.duration_since(named)).unwrap_or_default();
        self.begun.after(self.ttl.saturating_sub(sooner))
    }

    fn is_live(&self, now: Moment) -> bool {
        now.since(self.begun) < self.ttl
    }
}

type Opening = Shared<BoxFuture<'static, Result<Arc<Session>, Error>>>;

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    opening: Option<Opening>,
}

/// One tenant's session.
pub(super) struct Slot {
    tenant: String,
    shop: Arc<Shop>,
    state: Mutex<State>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn live(&self) -> Option<Arc<Session>> {
        let now = self.shop.clock.now();
        let live = self.lock().session.clone();
        live.filter(|session| session.is_live(now))
    }

    /// The session at hand, or a new one.
    pub async fn session(self: &Arc<Self>) -> Result<Arc<Session>, Error> {
        let session = match self.live() {
            Some(session) => session,
            None => self.open().await?,
        };
        session.used.notify_one();
        Ok(session)
    }

    /// The operator does not take this session any more.
    pub fn forget(&self, refused: &Arc<Session>) {
        let mut state = self.lock();
        if state
            .session
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, refused))
        {
            state.session = None;
        }
    }

    /// Opens a session, or joins who is opening one. It is a task of its own: a caller that goes away
    /// takes nothing from the others.
    fn open(self: &Arc<Self>) -> Opening {
        let mut state = self.lock();
        let under_way = state
            .opening
            .as_ref()
            .filter(|opening| opening.peek().is_none());
        if let Some(opening) = under_way {
            return opening.clone();
        }
        let slot = self.clone();
        let task = tokio::spawn(async move {
            let answer = slot.ask().await;
            let mut state = slot.lock();
            state.opening = None;
            let (session, renewal) = answer?;
            state.session = Some(session.clone());
            tokio::spawn(renew(Arc::downgrade(&slot), session.clone(), renewal));
            Ok(session)
        });
        let ending = |_| {
            let why = "the process is ending".to_owned();
            Err(Error::new(Kind::Unreachable, why))
        };
        let opening = async move { task.await.unwrap_or_else(ending) }.boxed();
        state.opening.insert(opening.shared()).clone()
    }

    /// A new session, and when it should be renewed.
    pub async fn ask(&self) -> Result<(Arc<Session>, Duration), Error> {
        let request = SessionRequest {
            tenant: &self.tenant,
        };
        let body = wire::body(&request, self.tenant.len())?;
        let begun = self.shop.clock.now();
        let asking = self.shop.transport.post("agent/v1/session", None, body);
        let answer = asking.await?;
        let answer = serde_json::from_slice::<SessionAnswer>(&answer);
        let answer = answer.map_err(|_| Error::not_understood())?;
        let ttl = Duration::from_secs(answer.ttl_seconds);
        if ttl.is_zero() || ttl > LONGEST {
            return Err(Error::not_understood());
        }
        let renewal = Duration::from_secs(answer.renew_after_seconds);
        let renewal = jittered(renewal, random::fraction()).min(ttl).max(SOONEST);
        tracing::info!(
            tenant = self.tenant,
            ttl = answer.ttl_seconds,
            "session opened"
        );
        let session = Session::new(answer.session_token, begun, ttl, answer.expires_at);
        Ok((Arc::new(session), renewal))
    }
}

/// 5 % to both sides, so that what started together does not renew together.
fn jittered(after: Duration, fraction: f64) -> Duration {
    after.mul_f64(0.95 + fraction / 10.0)
}

/// Renews `old` when it is time and it is used; the new session has a task of its own. What cannot
/// pass by itself is left to the next call, which tells it to its caller.
async fn renew(slot: Weak<Slot>, old: Arc<Session>, after: Duration) {
    sleep(after).await;
    let rest = old.ttl.saturating_sub(after);
    if timeout(rest, old.used.notified()).await.is_err() {
        return;
    }
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
    while let Some(slot) = slot.upgrade() {
        if !slot.live().is_some_and(|held| Arc::ptr_eq(&held, &old)) {
            return;
        }
        let opening = slot.open();
        drop(slot);
        match opening.await {
            Err(error) if error.category() == Category::Unavailable => {
                sleep(backoff.after(&error)).await;
            }
            _ => return,
        }
    }
}

pub(super) struct Sessions {
    shop: Arc<Shop>,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shop.transport.fmt(f)
    }
}

impl Sessions {
    pub fn new(shop: Shop) -> Self {
        Self {
            shop: Arc::new(shop),
            slots: Mutex::default(),
        }
    }

    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    pub fn of(&self, tenant: &str) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(tenant) {
            return slot.clone();
        }
        if slots.len() >= TENANTS {
            slots.retain(|_, slot| slot.live().is_some());
        }
        if slots.len() >= TENANTS {
            let end = |slot: &Slot| slot.live().map(|session| session.end().boot);
            let first = slots.iter().min_by_key(|(_, slot)| end(slot));
            if let Some(first) = first.map(|(tenant, _)| tenant.clone()) {
                slots.remove(&first);
            }
        }
        let slot = Arc::new(Slot {
            tenant: tenant.to_owned(),
            shop: self.shop.clone(),
            state: Mutex::default(),
        });
        slots.insert(tenant.to_owned(), slot.clone());
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_spread_by_a_tenth() {
        let after = Duration::from_mins(4);
        assert_eq!(jittered(after, 0.0), Duration::from_secs(228));
        assert_eq!(jittered(after, 0.5), Duration::from_mins(4));
        assert!(jittered(after, 0.999) < Duration::from_secs(252));
    }
}
