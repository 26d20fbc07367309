//! Reads and writes a tenant's record, in an order where a crash anywhere loses nothing: the record
//! first, then what rests on it. What is known in memory gives way to what is stored.

use tracing::{info, warn};

use super::context::{Context, Entry};
use super::outcome::ReconcileError;
use super::tenant::Stored;
use super::{reconcile, work};
use crate::clock::Moment;
use crate::lock::lock;
use crate::provider::TenantId;
use crate::record::Record;
use crate::record::keyring::wrapping::Opened;
use crate::record::store::{StoreError, Version};
use crate::seal::Seal;
use crate::session::Hold;

/// Reads the record, or begins one for a tenant that is seen for the first time.
pub async fn load(ctx: &Context, id: &TenantId, entry: &mut Entry) -> Result<(), ReconcileError> {
    let uid = ctx.namespaces.uid(&id.namespace).await?;
    let read = match ctx.records.load(id, &uid).await {
        Ok(read) => read,
        Err(StoreError::Unusable(unusable)) => {
            let secret = crate::record::store::secret_name(id);
            let failure = unusable.failure(&ctx.records_namespace, &secret);
            entry.tenant.refuse_record(failure);
            entry.open.abandon();
            ctx.wipe(id);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let (record, version) = read.unzip();
    let known = entry.tenant.outlives(record.as_ref(), &uid);
    if known.is_some() {
        warn!(tenant = %id, "an older record was put in place of the tenant's; written again");
    }
    let stored = match (known, record, version) {
        (None, Some(record), Some(version)) => Stored { record, version },
        (known, _, version) => {
            if !ctx.may_write(ctx.clock.now()) {
                return Err(ReconcileError::NotHolder);
            }
            let record = match known {
                Some(known) => known,
                None => Record::new(id, &uid)?,
            };
            let version = ctx.records.save(id, &record, version.as_ref()).await?;
            Stored { record, version }
        }
    };
    settle(ctx, id, &stored.record);
    entry.tenant.take_record(stored, ctx.clock.now());
    let_go(ctx, id, entry);
    Ok(())
}

/// Puts a proved spec on record; only then is it in force.
pub async fn put_in_force(
    ctx: &Context,
    id: &TenantId,
    entry: &mut Entry,
) -> Result<(), ReconcileError> {
    let (Some(proved), Some(stored)) = (&entry.tenant.proved, &entry.tenant.stored) else {
        return Ok(());
    };
    let version = stored.version.clone();
    let now = ctx.clock.now();
    // It could not be recorded for so long that the key has to be proved again; or the keyring has
    // changed meanwhile.
    let record = entry.tenant.record_of(proved, now);
    let Some(record) = record.filter(|_| proved.holds(now)) else {
        entry.tenant.prove_again(now);
        return Ok(());
    };
    if !ctx.may_write(now) {
        return Err(ReconcileError::NotHolder);
    }
    let reserved = match (lock(&ctx.claims).as_mut(), &proved.tried.claim) {
        (Some(claims), Some(key)) => claims.reserve(id, key).map_err(|_| key),
        (Some(_), None) => Ok(()),
        (None, _) => return Err(ReconcileError::NotHolder),
    };
    if let Err(key) = reserved {
        let failure = work::conflict(&ctx.records_namespace, key);
        entry.tenant.refuse_proved(failure, now, (ctx.jitter)());
        return Ok(());
    }
    let version = save(ctx, id, entry, &record, &version).await?;
    settle(ctx, id, &record);
    let Some(proved) = entry.tenant.proved.take() else {
        return Ok(());
    };
    let now = ctx.clock.now();
    let stored = Stored { record, version };
    let transition = entry.tenant.adopt(&proved, stored, now);
    let proof = entry.tenant.seal().and_then(Seal::proof);
    if let Some(opened) = proved.tried.opened
        && proof == Some(proved.started)
    {
        hold(ctx, id, entry, opened, proved.started);
    }
    let_go(ctx, id, entry);
    entry.open.check.abandon();
    entry.open.survey.abandon();
    entry.open.rotation.abandon();
    if let Some(transition) = transition {
        reconcile::note(ctx, id, entry, transition);
    }
    Ok(())
}

/// Keeps an opened master key, while its proof may be relied on and the tenant is not sealed.
pub fn hold(ctx: &Context, id: &TenantId, entry: &mut Entry, opened: Opened, proof: Moment) {
    let now = ctx.clock.now();
    entry.tenant.opens(&opened);
    let serves = entry.tenant.seal().is_some_and(|seal| seal.may_serve(now));
    if let Some(stored) = &entry.tenant.stored
        && serves
        && entry.tenant.is_epoch_recorded()
        && let Some(hold) = Hold::new(&stored.record, opened, proof)
    {
        ctx.keep(id, hold);
    }
}

/// A key that is not the active one of the record, or was opened by another key than wraps it there,
/// is held no more. The active one is opened at once.
fn let_go(ctx: &Context, id: &TenantId, entry: &mut Entry) {
    let now = ctx.clock.now();
    let record = entry.tenant.stored.as_ref().map(|one| &one.record);
    let fits = match record {
        Some(record) => ctx.keys.settle(id, record),
        None => ctx.keys.get(id, now).map(|_| false),
    };
    let Some(fits) = fits else { return };
    let serves = entry.tenant.seal().is_some_and(|seal| seal.may_serve(now));
    if !fits || !serves {
        ctx.keys.wipe(id);
        if let Some(seal) = entry.tenant.seal_mut() {
            seal.request(now, false);
        }
    }
}

/// What the record says is what the tenant has.
fn settle(ctx: &Context, id: &TenantId, record: &Record) {
    if let Some(claims) = lock(&ctx.claims).as_mut() {
        claims.settle(id, record.claim.as_deref());
    }
}

/// Writes the record when the seal or the handled requests have changed.
pub async fn put_on_record(
    ctx: &Context,
    id: &TenantId,
    entry: &mut Entry,
) -> Result<(), ReconcileError> {
    let now = ctx.clock.now();
    let Some(wanted) = entry.tenant.wanted_record(now, (ctx.jitter)()) else {
        return Ok(());
    };
    let stored = entry.tenant.stored.as_ref();
    let Some(stored) = stored.filter(|old| old.record != wanted) else {
        return Ok(());
    };
    let version = stored.version.clone();
    if !ctx.may_write(now) {
        return Err(ReconcileError::NotHolder);
    }
    let was_recorded = entry.tenant.is_epoch_recorded();
    let version = save(ctx, id, entry, &wanted, &version).await?;
    let record = wanted;
    let made = entry.tenant.recorded(Stored { record, version }, now);
    if let Some((rotation, rotated)) = made {
        info!(tenant = %id, why = ?rotation.why, key = %rotated.minted.id, "a new master key");
        hold(ctx, id, entry, rotated.opened, rotation.started);
    }
    let_go(ctx, id, entry);
    if let Some(seal) = entry.tenant.seal_mut()
        && !was_recorded
        && seal.may_serve(now)
    {
        seal.request(now, false); // what waited for this write
    }
    Ok(())
}

/// Writes over exactly what was read. After an error it is not known what is stored: read again.
async fn save(
    ctx: &Context,
    id: &TenantId,
    entry: &mut Entry,
    record: &Record,
    read: &Version,
) -> Result<Version, ReconcileError> {
    let saved = ctx.records.save(id, record, Some(read)).await;
    entry.tenant.stale = saved.is_err();
    Ok(saved?)
}
