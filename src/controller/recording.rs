//! Reads and writes a tenant's record, in an order where a crash anywhere loses nothing: the record
//! first, then what rests on it. What is known in memory gives way to what is stored.

use kube::ResourceExt;

use super::attempt;
use super::context::{Context, Entry, lock};
use super::outcome::ReconcileError;
use super::reconcile;
use super::tenant::Stored;
use crate::api::TenantKms;
use crate::provider::TenantId;
use crate::random;
use crate::record::store::{StoreError, Version};
use crate::record::{Applied, Record};

/// Reads the record, or begins one for a tenant that is seen for the first time.
pub async fn load(
    ctx: &Context,
    object: &TenantKms,
    id: &TenantId,
    entry: &mut Entry,
) -> Result<(), ReconcileError> {
    let now = ctx.clock.now();
    let created = object
        .creation_timestamp()
        .map_or(now.timestamp(), |time| time.0);
    let uid = ctx
        .namespaces
        .uid(&id.namespace, created, now.timestamp())
        .await?;
    let loaded = match ctx.records.load(id, &uid).await {
        Ok(loaded) => loaded,
        Err(StoreError::Unusable(unusable)) => {
            let secret = crate::record::store::secret_name(id);
            let failure = unusable.failure(&ctx.records_namespace, &secret);
            entry.tenant.refuse_record(failure);
            entry.open.abandon();
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let stored = if let Some((record, version)) = loaded {
        Stored { record, version }
    } else {
        if !ctx.may_write(ctx.clock.now()) {
            return Err(ReconcileError::NotHolder);
        }
        let record = Record::new(id, &uid)?;
        let version = ctx.records.save(id, &record, None).await?;
        Stored { record, version }
    };
    settle(ctx, id, &stored.record);
    entry.tenant.take_record(stored, ctx.clock.now());
    Ok(())
}

/// Puts a proved spec on record; only then is it in force.
pub async fn put_in_force(
    ctx: &Context,
    id: &TenantId,
    entry: &mut Entry,
) -> Result<(), ReconcileError> {
    let (Some(proved), Some(stored)) = (entry.tenant.proved.clone(), entry.tenant.stored.clone())
    else {
        return Ok(());
    };
    let now = ctx.clock.now();
    if !proved.holds(now) {
        // It could not be recorded for so long that the key has to be proved again.
        entry.tenant.prove_again(now);
        return Ok(());
    }
    if !ctx.may_write(now) {
        return Err(ReconcileError::NotHolder);
    }
    let key = proved.success.key_id.as_str();
    let reserved = match lock(&ctx.claims).as_mut() {
        Some(claims) => claims.reserve(id, key),
        None => return Err(ReconcileError::NotHolder),
    };
    if reserved.is_err() {
        let failure = attempt::conflict(&ctx.records_namespace, key);
        entry.tenant.refuse_proved(failure, now, random::fraction());
        return Ok(());
    }
    let mut record = stored.record.clone();
    record.claim = Some(key.to_owned());
    record.applied = Some(Applied {
        spec: proved.spec.clone(),
        object_uid: entry.tenant.object_uid.clone(),
        generation: proved.generation,
    });
    let version = save(ctx, id, entry, &record, &stored).await?;
    settle(ctx, id, &record);
    let now = ctx.clock.now();
    let stored = Stored { record, version };
    let transition = entry.tenant.adopt(proved, stored, now);
    entry.open.check.abandon();
    entry.open.reading.abandon();
    if let Some(transition) = transition {
        reconcile::note(ctx, id, entry, transition);
    }
    Ok(())
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
    let Some(wanted) = entry.tenant.wanted_record(now) else {
        return Ok(());
    };
    let Some(stored) = entry
        .tenant
        .stored
        .clone()
        .filter(|old| old.record != wanted)
    else {
        return Ok(());
    };
    if !ctx.may_write(now) {
        return Err(ReconcileError::NotHolder);
    }
    let version = save(ctx, id, entry, &wanted, &stored).await?;
    let record = wanted;
    entry.tenant.recorded(Stored { record, version }, now);
    Ok(())
}

/// Writes over exactly what was read. After an error it is not known what is stored: read again.
async fn save(
    ctx: &Context,
    id: &TenantId,
    entry: &mut Entry,
    record: &Record,
    stored: &Stored,
) -> Result<Version, ReconcileError> {
    let saved = ctx.records.save(id, record, Some(&stored.version)).await;
    entry.tenant.stale = saved.is_err();
    Ok(saved?)
}
