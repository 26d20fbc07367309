//! What an object says that keeps its tenant from being used, at the moment it is seen. Pure.

use super::installation;
use super::object::{Guarded, Object};
use crate::api::{Aspect, Is, Phase};
use crate::session::roster::{self, Veto};

pub fn of(guarded: &Guarded, ours: &str) -> roster::Object {
    let object = match guarded {
        Ok(object) => object,
        Err(meta) => {
            return roster::Object {
                uid: meta.uid.clone(),
                version: meta.resource_version.clone(),
                veto: Some(Veto::Malformed),
                phase: None,
                reason: None,
                turned: None,
            };
        }
    };
    let status = object.status.as_ref();
    let condition = |aspect| status?.condition(aspect);
    roster::Object {
        uid: object.meta.uid.clone(),
        version: object.meta.resource_version.clone(),
        veto: veto(object, ours),
        phase: status.and_then(|status| status.phase),
        reason: condition(Aspect::Ready).and_then(|ready| ready.reason),
        turned: condition(Aspect::Active).map(|active| active.last_transition_time.0),
    }
}

fn veto(object: &Object, ours: &str) -> Option<Veto> {
    let status = object.status.as_ref();
    if object.meta.deleted.is_some() {
        Some(Veto::Deleted)
    } else if installation::owner(&object.meta) != Some(ours) {
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
