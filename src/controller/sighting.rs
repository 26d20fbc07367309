//! What an object says that keeps its tenant from being used, at the moment it is seen. Pure.

use kube::ResourceExt;
use kube::core::DeserializeGuard;

use super::{Guarded, installation};
use crate::api::{Aspect, Is, Phase, TenantKms};
use crate::session::roster::{Object, Veto};

pub fn of(guarded: &Guarded, ours: &str) -> Object {
    let uid = guarded.uid().unwrap_or_default();
    let created = guarded.creation_timestamp().map(|time| time.0);
    let DeserializeGuard(parsed) = guarded;
    let Ok(object) = parsed else {
        return Object {
            uid,
            created,
            veto: Some(Veto::Malformed),
            phase: None,
            reason: None,
            turned: None,
        };
    };
    let status = object.status.as_ref();
    let condition = |aspect| status?.condition(aspect);
    Object {
        uid,
        created,
        veto: veto(object, ours),
        phase: status.and_then(|status| status.phase),
        reason: condition(Aspect::Ready).and_then(|ready| ready.reason),
        turned: condition(Aspect::Active).map(|active| active.last_transition_time.0),
    }
}

fn veto(object: &TenantKms, ours: &str) -> Option<Veto> {
    let status = object.status.as_ref();
    if object.metadata.deletion_timestamp.is_some() {
        Some(Veto::Deleted)
    } else if installation::owner(&object.metadata) != Some(ours) {
        Some(Veto::Foreign)
    } else if object.spec.is_suspended() {
        Some(Veto::Suspended)
    } else if status.is_some_and(|status| {
        let sealed = status.condition(Aspect::Sealed);
        status.phase == Some(Phase::Sealed)
            || sealed.is_some_and(|sealed| sealed.status == Some(Is::True))
    }) {
        Some(Veto::Sealed)
    } else {
        None
    }
}
