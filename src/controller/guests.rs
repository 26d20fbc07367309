//! Tenants that this replica does not hold and is asked for: each is proved on demand, and again every
//! interval while it is used, by the same rules as the holder's. Nothing is written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{sleep, timeout};
use tracing::info;

use super::attempt::measured;
use super::context::Context;
use super::shares::Urgency;
use super::{serving, work};
use crate::api::{Reason, TenantKmsSpec};
use crate::clock::Moment;
use crate::lock::lock;
use crate::provider::TenantId;
use crate::record::Record;
use crate::record::keyring::{IN_USE, KeyId};
use crate::seal::{Attempt, Cause, Seal, State, Transition};
use crate::session::hold::LastUse;
use crate::session::roster::{Barrier, Seen};
use crate::session::{Hold, Refused};

/// How soon a record that could not be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// How long what was read is relied on while nothing is seen of the object: a change of the record may be
/// told by no status, as where that cannot be written.
const READ_ANEW: Duration = Duration::from_mins(2);
/// And while it cannot be read: shorter than a master key that was rotated away is kept.
const RELIED_ON: Duration = Duration::from_mins(5);
const READ_AGAIN_MEANWHILE: Duration = Duration::from_secs(10);
const _: () = assert!(RELIED_ON.as_secs() + 30 < IN_USE.as_secs().unsigned_abs());
/// How long a tenant that nobody uses is still proved, beyond its interval.
const LINGER: Duration = Duration::from_secs(10);
/// How many tenants may have a version opened at once.
const OPENINGS: usize = 256;

/// The one who opens a tenant's former versions.
#[derive(Debug, Default)]
pub struct Opening {
    /// The last time that somebody asked for a version that is none of the tenant's.
    pub missed: Option<Missed>,
}

/// A look at the record in vain.
#[derive(Debug)]
pub struct Missed {
    /// Before it was read.
    pub at: Moment,
    /// The versions that it had.
    pub there: Vec<KeyId>,
}

/// What is known of one tenant from outside of its task.
#[derive(Debug, Default)]
struct Guest {
    used: Arc<LastUse>,
    wake: Notify,
    /// Why there is no proof; nothing while nobody knows yet.
    trouble: Mutex<Option<Refused>>,
    /// The record says more than was read of it.
    outdated: AtomicBool,
}

#[derive(Debug, Default)]
pub struct Guests {
    tenants: Mutex<HashMap<TenantId, Arc<Guest>>>,
    openings: Mutex<HashMap<TenantId, Arc<AsyncMutex<Opening>>>>,
}

impl Guests {
    /// Sees to it that the tenant is proved, unless that is the holder's part.
    pub fn ensure(&self, ctx: &Arc<Context>, id: &TenantId) {
        if !ctx.is_guest() {
            return;
        }
        let mut tenants = lock(&self.tenants);
        let now = ctx.clock.now();
        if let Some(guest) = tenants.get(id) {
            guest.used.mark(now);
            return;
        }
        let guest = Arc::new(Guest::default());
        guest.used.mark(now);
        tenants.insert(id.clone(), guest.clone());
        drop(tenants);
        let tending = Tending {
            ctx: ctx.clone(),
            id: id.clone(),
            guest,
        };
        tokio::spawn(tending.run());
    }

    /// Why there is no proof of this tenant.
    pub fn trouble(&self, id: &TenantId) -> Option<Refused> {
        let guest = lock(&self.tenants).get(id).cloned()?;
        let trouble = lock(&guest.trouble);
        trouble.clone()
    }

    /// Something was seen of the tenant.
    pub fn wake(&self, id: &TenantId) {
        if let Some(guest) = lock(&self.tenants).get(id) {
            guest.wake.notify_one();
        }
    }

    /// The record is to be read again.
    pub fn outdate(&self, id: &TenantId) {
        if let Some(guest) = lock(&self.tenants).get(id) {
            guest.outdated.store(true, Ordering::Relaxed);
            guest.wake.notify_one();
        }
    }

    /// The turn to open a version of the tenant; nothing when too many tenants wait for theirs.
    pub fn opening(&self, id: &TenantId) -> Option<Arc<AsyncMutex<Opening>>> {
        let mut openings = lock(&self.openings);
        if let Some(turn) = openings.get(id) {
            return Some(turn.clone());
        }
        if openings.len() >= OPENINGS {
            openings.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        if openings.len() >= OPENINGS {
            return None;
        }
        Some(openings.entry(id.clone()).or_default().clone())
    }

    pub fn len(&self) -> usize {
        lock(&self.tenants).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The count of no change: the record is to be read again, and nothing is served before.
const UNREAD: u64 = 0;

/// The record that the proofs are of, and what they say.
struct Known {
    record: Record,
    spec: TenantKmsSpec,
    seal: Seal,
    /// Of the object that is there.
    object_uid: Arc<str>,
    /// What was seen of it when the record was read, or [`UNREAD`].
    changes: u64,
    /// When the record was read.
    read: Moment,
    /// The last one that was acted on.
    barrier: Option<Barrier>,
}

struct Tending {
    ctx: Arc<Context>,
    id: TenantId,
    guest: Arc<Guest>,
}

/// However the task ends: keys that nobody proves are not kept.
impl Drop for Tending {
    fn drop(&mut self) {
        lock(&self.ctx.guests.tenants).remove(&self.id);
        self.ctx.keys.wipe_guest(&self.id);
        if self.ctx.is_guest() {
            self.ctx.providers.forget(&self.id);
        }
        self.ctx.keys.nudge(&self.id);
    }
}

impl Tending {
    async fn run(self) {
        let mut known: Option<Known> = None;
        while let Some(seen) = self.ctx.roster.get(&self.id) {
            if seen.object.veto.is_some() || !self.ctx.is_guest() {
                return;
            }
            if self.guest.outdated.swap(false, Ordering::Relaxed) {
                known = None;
            }
            // Another object of the same name is nobody that was proved.
            known = known.filter(|known| known.object_uid == seen.object.uid);
            let now = self.ctx.clock.now();
            let within = |known: &Known, span| now.since(known.read) < span;
            let current = |known: &Known| known.changes == seen.changes;
            let fresh = |known: &Known| current(known) && within(known, READ_ANEW);
            if !known.as_ref().is_some_and(fresh) {
                let outlived = known
                    .as_ref()
                    .is_some_and(|known| !within(known, RELIED_ON));
                match self.read(&seen.object.uid).await {
                    Ok((record, spec)) => {
                        known = Some(self.take(known, record, spec, &seen, now));
                    }
                    // Nothing says that it is another one by now.
                    Err(Refused::Unproved(_))
                        if !outlived && known.as_ref().is_some_and(current) => {}
                    Err(refused) => {
                        if outlived || matches!(refused, Refused::Sealed(_)) {
                            // Whatever is read next, the tenant may have been sealed in between.
                            known = None;
                            self.ctx.wipe(&self.id);
                        }
                        self.say(Some(refused));
                        if self.pause(READ_AGAIN, Duration::ZERO).await {
                            continue;
                        }
                        return;
                    }
                }
            }
            let Some(known) = &mut known else { return };
            if known.barrier != seen.barrier {
                known.barrier = seen.barrier;
                self.void(known);
            }
            if !self.turn(known).await {
                return;
            }
        }
    }

    /// The record of a tenant that is not sealed, with the spec in force, of the object that is there.
    async fn read(&self, object_uid: &str) -> Result<(Record, TenantKmsSpec), Refused> {
        let read = timeout(serving::PATIENCE, serving::read(&self.ctx, &self.id)).await;
        let record = read.unwrap_or(Err(Refused::Unproved(None)))?;
        if let Some(sealed) = &record.sealed {
            return Err(Refused::Sealed(Reason::named(&sealed.reason)));
        }
        match &record.applied {
            // One of another object says nothing of this: its holder has yet to end what went on with that.
            Some(applied) if record.keyring.is_some() && applied.object_uid == object_uid => {
                let spec = applied.spec.clone();
                Ok((record, spec))
            }
            _ => Err(Refused::Pending(None)),
        }
    }

    /// A record that says the same as before leaves the proof what it is.
    fn take(
        &self,
        known: Option<Known>,
        record: Record,
        spec: TenantKmsSpec,
        seen: &Seen,
        read: Moment,
    ) -> Known {
        let changes = seen.changes;
        let same = |old: &Record| {
            old.tenant_uid == record.tenant_uid
                && old.seal_epoch == record.seal_epoch
                && old.applied == record.applied
                && old.keyring == record.keyring
        };
        match known {
            Some(known) if same(&known.record) => {
                self.ctx.keys.seen(&self.id, changes);
                Known {
                    changes,
                    read,
                    ..known
                }
            }
            _ => {
                self.ctx.wipe(&self.id);
                // Nothing is proved that a barrier could void.
                Known {
                    seal: Seal::new(spec.timing(), self.ctx.clock.now()),
                    record,
                    spec,
                    object_uid: seen.object.uid.clone(),
                    changes,
                    read,
                    barrier: seen.barrier.clone(),
                }
            }
        }
    }

    /// What was proved counts no more; a no is confirmed.
    fn void(&self, known: &mut Known) {
        known.seal.void();
        let barrier = known.barrier.as_ref();
        if let Some(denial) = barrier.and_then(|barrier| barrier.denial.clone()) {
            let (now, jitter) = (self.ctx.clock.now(), (self.ctx.jitter)());
            let transition = known.seal.denied(denial, now, jitter);
            self.note(known, transition);
        }
    }

    /// Does what is due, or waits for it. False when nobody uses the tenant any more.
    async fn turn(&self, known: &mut Known) -> bool {
        let ctx = &self.ctx;
        let now = ctx.clock.now();
        let transition = known.seal.tick(now, (ctx.jitter)());
        self.note(known, transition);
        match known.seal.next_attempt(now) {
            Some(Duration::ZERO) => {
                let attempt = known.seal.begin(now);
                self.attempt(known, attempt).await;
                true
            }
            next => {
                let read = match READ_ANEW.saturating_sub(now.since(known.read)) {
                    Duration::ZERO => READ_AGAIN_MEANWHILE.mul_f64(0.5 + 0.5 * (ctx.jitter)()),
                    wait => wait,
                };
                let others = [next, known.seal.next_tick(now)].into_iter().flatten();
                let interval = known.spec.timing().interval;
                self.pause(others.fold(read, Duration::min), interval).await
            }
        }
    }

    async fn attempt(&self, known: &mut Known, attempt: Attempt) {
        let ctx = &self.ctx;
        let active = work::Active::of(&known.record);
        let urgency = Urgency::of(&known.seal, attempt.started);
        let check = async {
            let _permit = ctx.attempts.wait(urgency).await;
            work::check(ctx, &self.id, &known.spec, &active, attempt.fresh_token).await
        };
        let checked = measured(ctx, known.spec.provider, attempt.deadline, check).await;
        let now = ctx.clock.now();
        let (answer, opened) = match checked {
            Ok(checked) => (Ok(()), checked.opened),
            Err(failure) => {
                info!(tenant = %self.id, kind = ?failure.kind, %failure, "a check on demand failed");
                (Err(failure), None)
            }
        };
        let transition = known.seal.finish(attempt, answer, now, (ctx.jitter)());
        self.note(known, transition);
        if let Some(opened) = opened
            && known.seal.may_serve(now)
            && known.seal.proof() == Some(attempt.started)
            && let Some(hold) = Hold::new(&known.record, opened, attempt.started)
        {
            self.say(None);
            // What the holder holds is newer, or is not to be held.
            if ctx.is_guest() {
                let hold = hold.of_guest(known.changes, self.guest.used.clone());
                ctx.keep(&self.id, hold);
            }
        } else if !known.seal.may_serve(now) {
            self.say(Some(refusal(&known.seal)));
        }
    }

    fn note(&self, known: &mut Known, transition: Option<Transition>) {
        match transition {
            Some(Transition::Doubted) => self.ctx.keys.wipe(&self.id),
            Some(Transition::Sealed(_)) => {
                // By an epoch it ends them only where the holder has heard the same.
                let now = self.ctx.clock.now();
                self.ctx.roster.end_sessions(&self.id, now);
                self.ctx.wipe(&self.id);
            }
            Some(Transition::Unsealed) => {
                known.changes = UNREAD; // the epoch, if the holder has
                return;
            }
            Some(Transition::Activated) | None => return,
        }
        self.say(Some(refusal(&known.seal)));
    }

    /// Tells those who wait.
    fn say(&self, trouble: Option<Refused>) {
        *lock(&self.guest.trouble) = trouble;
        self.ctx.keys.nudge(&self.id);
    }

    /// Waits, or until something is seen. False when nobody has used the tenant for long.
    async fn pause(&self, wait: Duration, interval: Duration) -> bool {
        tokio::select! {
            () = sleep(wait) => {}
            () = self.guest.wake.notified() => {}
        }
        let now = self.ctx.clock.now().boot;
        now.saturating_sub(self.guest.used.at().unwrap_or_default()) < interval + LINGER
    }
}

fn refusal(seal: &Seal) -> Refused {
    let reason = seal.failure().map(|failure| failure.reason);
    match seal.state() {
        State::Sealed {
            cause: Cause::Denial,
            ..
        } => Refused::Sealed(reason),
        _ => Refused::Unproved(reason),
    }
}
