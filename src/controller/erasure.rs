//! `deletionPolicy: Erase`: what becomes of the master keys of an object that is deleted. Whatever is
//! doubtful keeps them: no confirmation, another active key, a namespace that ends with it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::timeout;
use tracing::{info, warn};

use super::context::Context;
use super::object::Object;
use super::outcome::ReconcileError;
use crate::api::{
    Aspect, Condition, DeletionPolicy, Is, Phase, Reason, TenantKms, TenantKmsStatus,
};
use crate::lock::lock;
use crate::provider::TenantId;
use crate::record::keyring::{KeyId, Keyring};
use crate::record::store::StoreError;

const FINALIZER: &str = "tenantkms.dev/erase";
pub const CONFIRM: &str = "tenantkms.dev/confirm-erase";
/// How long the deletion can be called off.
pub const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);
const LOOK_AGAIN: Duration = Duration::from_hours(1);
const DEADLINE: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Nothing,
    /// A deletion has to wait for us from now on.
    Guard,
    /// Nothing is to be erased: let the object go, and keep the keys.
    Release,
    Wait(Timestamp),
    Erase,
}

/// What the object asks for, given the active master key.
pub fn decide(
    object: &Object,
    active: Option<&KeyId>,
    namespace_ends: bool,
    now: Timestamp,
) -> Decision {
    let guarded = is_guarded(object);
    let confirmed = object.meta.annotations.get(CONFIRM);
    let confirmed = confirmed.and_then(KeyId::parse);
    let wanted = object.spec.deletion_policy == Some(DeletionPolicy::Erase)
        && active.is_some_and(|id| Some(id) == confirmed.as_ref());
    match object.meta.deleted {
        None if wanted && !guarded => Decision::Guard,
        None if guarded && !wanted => Decision::Release,
        None => Decision::Nothing,
        Some(_) if !guarded => Decision::Nothing,
        Some(_) if !wanted || namespace_ends => Decision::Release,
        Some(deleted) => match deleted.checked_add(GRACE) {
            Ok(end) if now < end => Decision::Wait(end),
            Ok(_) => Decision::Erase,
            Err(_) => Decision::Release,
        },
    }
}

pub fn is_guarded(object: &Object) -> bool {
    object.meta.finalizers.iter().any(|one| one == FINALIZER)
}

/// Looks at an object that is not deleted: guards it, or no longer.
pub async fn prepare(
    ctx: &Context,
    object: &Object,
    keyring: Option<&Keyring>,
) -> Result<(), ReconcileError> {
    let active = keyring.and_then(Keyring::active).map(|one| &one.id);
    let now = ctx.clock.now().timestamp();
    match decide(object, active, false, now) {
        Decision::Guard => guard(ctx, object, true).await,
        Decision::Release => guard(ctx, object, false).await,
        Decision::Nothing | Decision::Wait(_) | Decision::Erase => Ok(()),
    }
}

/// Looks at a guarded object that is being deleted; says when to look again.
pub async fn carry_out(
    ctx: &Context,
    object: &Object,
    id: &TenantId,
) -> Result<Option<Duration>, ReconcileError> {
    let now = ctx.clock.now().timestamp();
    let uid = ctx.namespaces.uid(&id.namespace).await?;
    let (record, version) = match ctx.records.load(id, &uid).await {
        Ok(read) => read.unzip(),
        // What cannot be read is left alone.
        Err(StoreError::Unusable(_)) => (None, None),
        Err(error) => return Err(error.into()),
    };
    let keyring = record.as_ref().and_then(|record| record.keyring.as_ref());
    let active = keyring.and_then(Keyring::active).map(|one| one.id.clone());
    let ends = ctx.namespaces.ends(&id.namespace).await?;
    match decide(object, active.as_ref(), ends, now) {
        Decision::Wait(end) => {
            tell(ctx, object, end).await?;
            let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
            Ok(Some(left.clamp(Duration::from_secs(1), LOOK_AGAIN)))
        }
        Decision::Erase => {
            if let (Some(record), Some(version)) = (record, version) {
                may_write(ctx)?;
                let erased = record.erased(now);
                ctx.records.save(id, &erased, Some(&version)).await?;
                warn!(tenant = %id, "every master key is erased, as confirmed");
            }
            if let Some(claims) = lock(&ctx.claims).as_mut() {
                claims.settle(id, None);
            }
            guard(ctx, object, false).await?;
            Ok(None)
        }
        Decision::Release | Decision::Guard | Decision::Nothing => {
            guard(ctx, object, false).await?;
            info!(tenant = %id, "deleted; its master keys are kept");
            Ok(None)
        }
    }
}

fn may_write(ctx: &Context) -> Result<(), ReconcileError> {
    if ctx.may_write(ctx.clock.now()) {
        Ok(())
    } else {
        Err(ReconcileError::NotHolder)
    }
}

/// Puts our finalizer on the object as it was seen, or takes it off.
async fn guard(ctx: &Context, object: &Object, on: bool) -> Result<(), ReconcileError> {
    may_write(ctx)?;
    let meta = &object.meta;
    let others = meta.finalizers.iter().filter(|one| *one != FINALIZER);
    let own = on.then(|| FINALIZER.to_owned());
    let finalizers: Vec<String> = others.cloned().chain(own).collect();
    let patch = json!({ "metadata": {
        "uid": &*meta.uid,
        "resourceVersion": &*meta.resource_version,
        "finalizers": finalizers,
    }});
    let (namespace, name) = meta.id.parts();
    let api: Api<TenantKms> = Api::namespaced(ctx.client.clone(), namespace);
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    match timeout(DEADLINE, api.patch_metadata(name, &params, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        // Gone meanwhile.
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        Ok(Err(error)) => Err(ReconcileError::Status(Box::new(error))),
        Err(_) => Err(ReconcileError::Deadline),
    }
}

/// Says on the object what waits, and how to call it off.
async fn tell(ctx: &Context, object: &Object, end: Timestamp) -> Result<(), ReconcileError> {
    let Some(observed) = &object.status else {
        return Ok(());
    };
    let generation = object.meta.generation;
    let now = ctx.clock.now().timestamp();
    let status = self::status(observed, &object.meta.id, generation, end, now);
    if &status == observed {
        return Ok(());
    }
    may_write(ctx)?;
    super::status::write(ctx, &object.meta, &status).await
}

/// The status of a deleted object whose master keys are erased at `end`.
fn status(
    observed: &TenantKmsStatus,
    id: &TenantId,
    generation: i64,
    end: Timestamp,
    now: Timestamp,
) -> TenantKmsStatus {
    let message = format!(
        "This object was deleted, and its master keys are destroyed for ever at {end}. To keep \
         them: `kubectl annotate tkms '{}' --namespace '{}' tenantkms.dev/confirm-erase-`.",
        id.name, id.namespace
    );
    let said = |aspect| Condition {
        type_: Some(aspect),
        status: Some(Is::False),
        reason: Some(Reason::Erasing),
        message: message.clone().into(),
        observed_generation: Some(generation),
        last_transition_time: observed
            .condition(aspect)
            .filter(|one| one.status == Some(Is::False))
            .map_or(Time(now), |one| one.last_transition_time.clone()),
    };
    let stays = |one: &&Condition| {
        use Aspect::{ConfigAccepted, KeyAtRisk, Sealed};
        one.is_ours() && matches!(one.type_, Some(Sealed | ConfigAccepted | KeyAtRisk))
    };
    let others = observed.conditions.iter().filter(stays).cloned();
    TenantKmsStatus {
        phase: Some(Phase::Suspended),
        conditions: [said(Aspect::Ready), said(Aspect::Active)]
            .into_iter()
            .chain(others)
            .collect(),
        ..observed.clone()
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;

    use super::*;
    use crate::api::{ProviderKind, TenantKmsSpec};
    use crate::controller::object::tests::watched;

    const ID: &str = "00112233445566778899aabbccddeeff";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    /// Confirmed with the active key, guarded, and deleted at 0.
    fn deleted() -> TenantKms {
        let mut spec = TenantKmsSpec::new(ProviderKind::Azure, "k");
        spec.deletion_policy = Some(DeletionPolicy::Erase);
        let mut object = TenantKms::new("acme", spec);
        object.annotations_mut().insert(CONFIRM.into(), ID.into());
        object.finalizers_mut().push(FINALIZER.into());
        object.metadata.deletion_timestamp = Some(Time(at(0)));
        object
    }

    fn decided(object: &TenantKms, now: i64) -> Decision {
        decide(&watched(object), KeyId::parse(ID).as_ref(), false, at(now))
    }

    #[test]
    fn seven_days_pass_before_anything_is_erased() {
        let week = 7 * 24 * 3600;
        let wait = Decision::Wait(at(week));
        assert_eq!(decided(&deleted(), 0), wait);
        assert_eq!(decided(&deleted(), week - 1), wait);
        assert_eq!(decided(&deleted(), week), Decision::Erase);
    }

    #[test]
    fn whatever_is_doubtful_keeps_the_keys() {
        let long = 30 * 24 * 3600;
        let cases: [fn(&mut TenantKms); 4] = [
            |o| o.spec.deletion_policy = None,
            |o| o.spec.deletion_policy = Some(DeletionPolicy::Retain),
            |o| o.annotations_mut().clear(),
            |o| *o.annotations_mut() = [(CONFIRM.into(), "true".into())].into(),
        ];
        for (n, case) in cases.into_iter().enumerate() {
            let mut object = deleted();
            case(&mut object);
            assert_eq!(decided(&object, long), Decision::Release, "case {n}");
        }
        let (object, id) = (deleted(), KeyId::parse(ID));
        let with_namespace = decide(&watched(&object), id.as_ref(), true, at(long));
        assert_eq!(with_namespace, Decision::Release);
        let rotated = KeyId::parse(&"ab".repeat(16));
        let other = decide(&watched(&object), rotated.as_ref(), false, at(long));
        assert_eq!(other, Decision::Release);
        assert_eq!(
            decide(&watched(&object), None, false, at(long)),
            Decision::Release
        );
        let mut unguarded = deleted();
        unguarded.finalizers_mut().clear();
        assert_eq!(decided(&unguarded, long), Decision::Nothing);
    }

    #[test]
    fn only_a_confirmed_object_is_guarded() {
        let mut object = deleted();
        object.metadata.deletion_timestamp = None;
        assert_eq!(decided(&object, 0), Decision::Nothing);
        object.finalizers_mut().clear();
        assert_eq!(decided(&object, 0), Decision::Guard);
        object.annotations_mut().clear();
        assert_eq!(decided(&object, 0), Decision::Nothing);
        object.finalizers_mut().push(FINALIZER.into());
        assert_eq!(decided(&object, 0), Decision::Release);
    }
}
