//! Whether a tenant's keys may be used now, on this replica. Every use asks here. The holder's keys
//! come from its own checks; a replica that is not the holder proves when it is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, info};

use super::context::Context;
use super::guests::Missed;
use crate::api::Phase;
use crate::clock::Moment;
use crate::provider::{Anchor, Failure, Kind, TenantId};
use crate::record::Record;
use crate::record::keyring::{KeyId, wrapping};
use crate::session::roster::{Seen, Veto};
use crate::session::{Hold, Refused, Standing, Version};

/// How long a caller waits for a proof.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How often the record is asked for a version that is not known.
const MISSES_APART: Duration = Duration::from_secs(1);

/// The tenant's keys, on a proof that this process holds; waits for one if there is none.
pub async fn hold(ctx: &Arc<Context>, id: &TenantId) -> Result<Arc<Hold>, Refused> {
    if let Some(hold) = at_hand(ctx, id)? {
        return Ok(hold);
    }
    let look = || {
        ctx.guests.ensure(ctx, id);
        match at_hand(ctx, id) {
            Ok(Some(hold)) => Some(Ok(hold)),
            Ok(None) => ctx.guests.trouble(id).map(Err),
            Err(refused) => Some(Err(refused)),
        }
    };
    let waited = ctx.keys.wait(id, PATIENCE, look).await;
    waited.unwrap_or_else(|| Err(unproved(ctx, id)))
}

/// The same without waiting: nothing when a proof is missing.
pub fn at_hand(ctx: &Context, id: &TenantId) -> Result<Option<Arc<Hold>>, Refused> {
    if !ctx.syncing.is_done() {
        return Err(Refused::Starting);
    }
    let now = ctx.clock.now();
    let found = ctx.keys.get(id, now);
    ctx.roster.with(id, |seen| {
        let seen = seen.ok_or(Refused::NotFound)?;
        if let Some(veto) = seen.object.veto {
            return Err(vetoed(veto, seen));
        }
        let hold = found.filter(|hold| ctx.looks_after(hold) && fits(hold, seen));
        if let Some(hold) = &hold {
            hold.mark_used(now);
        }
        Ok(hold)
    })
}

/// Whether nothing was seen of the object since the proof was begun that makes it void.
fn fits(hold: &Hold, seen: &Seen) -> bool {
    seen.counts(hold.proof) && hold.seen.is_none_or(|changes| changes == seen.changes)
}

fn vetoed(veto: Veto, seen: &Seen) -> Refused {
    match veto {
        Veto::Sealed => Refused::Sealed(seen.object.reason),
        Veto::Suspended => Refused::Suspended,
        Veto::Deleted | Veto::Foreign => Refused::NotFound,
        Veto::Malformed => Refused::Pending(None),
    }
}

fn unproved(ctx: &Context, id: &TenantId) -> Refused {
    ctx.roster.with(id, |seen| match seen {
        None => Refused::NotFound,
        Some(seen) => match (seen.object.veto, seen.object.phase) {
            (Some(veto), _) => vetoed(veto, seen),
            (None, Some(Phase::Pending) | None) => Refused::Pending(seen.object.reason),
            (None, Some(_)) => Refused::Unproved(None),
        },
    })
}

/// One of the tenant's master keys, and the keys on hand with it; what is not open yet is opened with the
/// customer's key. The call that needs it began at `since`.
pub async fn version(
    ctx: &Arc<Context>,
    id: &TenantId,
    hold: &Arc<Hold>,
    key: &KeyId,
    since: Moment,
) -> Result<(Arc<Hold>, Arc<Version>), Refused> {
    if let Some(version) = hold.use_version(key, ctx.clock.now()) {
        return Ok((hold.clone(), version.clone()));
    }
    if hold.standing(key) == Some(Standing::Erased) {
        return Err(Refused::ErasedKey);
    }
    let opening = ctx.guests.opening(id).ok_or(Refused::Busy)?;
    let work = async {
        // One at a time for a tenant: whoever waited may find it open.
        let mut turn = opening.lock().await;
        let mut hold = still(ctx, id, hold)?;
        if let Some(version) = hold.version(key).cloned() {
            return Ok((hold, version));
        }
        let now = ctx.clock.now();
        if let (None, Some(missed)) = (hold.standing(key), &turn.missed) {
            // What the call brings was there before the record was read.
            if missed.at.boot >= since.boot && !missed.there.contains(key) {
                return Err(Refused::UnknownKey);
            }
            if now.since(missed.at) < MISSES_APART {
                return Err(Refused::Busy);
            }
        }
        let record = read(ctx, id).await?;
        if ctx.keys.settle(id, &record) == Some(false) && ctx.is_guest() {
            // The holder has changed the keyring: what it has made may be open with the next proof.
            outdate(ctx, id);
            hold = self::hold(ctx, id).await?;
            if let Some(version) = hold.version(key).cloned() {
                return Ok((hold, version));
            }
        }
        let opened = open(ctx, id, &hold, key, &record).await;
        if matches!(opened, Err(Refused::UnknownKey)) {
            let versions = record.keyring.iter().flat_map(|keyring| &keyring.versions);
            let there = versions.map(|one| one.id.clone()).collect();
            turn.missed = Some(Missed { at: now, there });
        }
        let opened = opened?;
        // It took a while: what was not sealed then is not sealed now.
        Ok((still(ctx, id, &hold)?, opened))
    };
    let opened = timeout(PATIENCE, work).await;
    opened.unwrap_or(Err(Refused::Unproved(None)))
}

/// Keys that were taken a while ago, if they may be used yet: as they are now.
pub fn still(ctx: &Context, id: &TenantId, hold: &Hold) -> Result<Arc<Hold>, Refused> {
    let now = at_hand(ctx, id)?.filter(|now| now.epoch == hold.epoch);
    now.ok_or(Refused::Unproved(None))
}

/// A session says that the tenant was sealed more often than is known here: what was proved before
/// is worth nothing, and the record tells the rest.
pub fn sealed_elsewhere(ctx: &Context, id: &TenantId) {
    if ctx.is_guest() {
        outdate(ctx, id);
    }
}

async fn open(
    ctx: &Arc<Context>,
    id: &TenantId,
    hold: &Hold,
    key: &KeyId,
    record: &Record,
) -> Result<Arc<Version>, Refused> {
    if record.tenant_uid != hold.tenant_uid || record.seal_epoch != hold.epoch {
        return Err(Refused::Unproved(None));
    }
    let keyring = record.keyring.as_ref().ok_or(Refused::UnknownKey)?;
    let version = keyring.version(key).ok_or(Refused::UnknownKey)?;
    let locked = keyring.locked(version).ok_or(Refused::ErasedKey)?;
    let Some(applied) = &record.applied else {
        return Err(Refused::Unproved(None));
    };
    let opened = async {
        let kms = {
            let anchor = Anchor::of(&record.tenant_uid, Some(&keyring.kek.key_id));
            let connected = ctx.providers.connect(id, &applied.spec, &anchor, false);
            connected.await?
        };
        wrapping::open(kms.as_ref(), &record.tenant_uid, &locked).await
    };
    match opened.await {
        // What was opened counts only beside the proof that speaks for it.
        Ok(opened) => {
            let added = ctx.keys.add(id, &record.tenant_uid, opened);
            added.ok_or(Refused::Unproved(None))
        }
        Err(failure) => Err(refused(ctx, id, failure).await),
    }
}

/// A no is a no, whatever was asked for: nothing is given out until a check has cleared it up.
async fn refused(ctx: &Context, id: &TenantId, failure: Failure) -> Refused {
    info!(tenant = %id, kind = ?failure.kind, %failure, "a former master key did not open");
    let reason = failure.reason;
    if failure.kind == Kind::Denial {
        ctx.void(id, Some(failure));
        ctx.guests.wake(id);
        ctx.wakes.send(id).await;
    }
    Refused::Unproved(Some(reason))
}

/// The record says more than was proved here, which is void.
fn outdate(ctx: &Context, id: &TenantId) {
    ctx.void(id, None);
    ctx.guests.outdate(id);
}

/// The record, as it is stored now.
pub async fn read(ctx: &Context, id: &TenantId) -> Result<Record, Refused> {
    let uid = ctx.namespaces.uid(&id.namespace).await;
    let uid = uid.map_err(|error| {
        debug!(tenant = %id, %error, "the namespace could not be read");
        Refused::Unproved(None)
    })?;
    match ctx.records.load(id, &uid).await {
        Ok(Some((record, _))) => Ok(record),
        Ok(None) => Err(Refused::Pending(None)),
        Err(error) => {
            debug!(tenant = %id, %error, "the record could not be read");
            Err(Refused::Unproved(None))
        }
    }
}
