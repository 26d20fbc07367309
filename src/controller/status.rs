//! Writes a tenant's report when it says something new, and tells people by an Event.

use std::sync::Arc;
use std::time::Duration;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, TestOperation};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::context::{Context, Entry};
use super::object::{Guarded, Meta};
use super::outcome::ReconcileError;
use super::report::report as compose;
use super::tenant::Reported;
use crate::api::{Aspect, Phase, Reason, TenantKms, TenantKmsStatus};

const MANAGER: &str = "tenant-kms-status";
const DEADLINE: Duration = Duration::from_secs(4);

/// Reports what is known now; true when something was written.
pub async fn report(
    ctx: &Context,
    guarded: &Arc<Guarded>,
    entry: &mut Entry,
) -> Result<bool, ReconcileError> {
    let Ok(object) = guarded.as_ref() else {
        return Ok(false);
    };
    let observed = object.status.as_ref();
    let tenant = &mut entry.tenant;
    let decided = tenant.may_report(observed);
    let status = if decided {
        let known = tenant.reported().or(observed);
        compose(&tenant.view(&object.spec, ctx.clock.now()), known)
    } else if let Some(observed) = observed {
        // Not decided yet: conditions stay, but people may see what goes wrong.
        tenant.with_last_failure(observed.clone())
    } else {
        return Ok(false);
    };
    ctx.metrics.state(&tenant.id, &status, tenant.seal());
    if observed == Some(&status) {
        if decided {
            tenant.told(Reported::new(status, guarded));
        }
        return Ok(false);
    }
    let now = ctx.clock.now();
    if !ctx.may_write(now) {
        return Err(ReconcileError::NotHolder);
    }
    ctx.turn(&tenant.id, status.phase == Some(Phase::Sealed))?;
    write(ctx, &object.meta, &status).await?;
    tell(ctx, &object.meta, tenant.reported().or(observed), &status);
    if decided {
        entry.tenant.told(Reported::new(status, guarded));
    }
    Ok(true)
}

/// Writes a status that says something new.
pub async fn write(
    ctx: &Context,
    object: &Meta,
    status: &TenantKmsStatus,
) -> Result<(), ReconcileError> {
    let (namespace, name) = object.id.parts();
    let api: Api<TenantKms> = Api::namespaced(ctx.client.clone(), namespace);
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::<()>::Json(patch(object, json!(status)));
    match timeout(DEADLINE, api.patch_status(name, &params, &patch)).await {
        Ok(Ok(_)) => {
            ctx.metrics.status_written();
            Ok(())
        }
        Ok(Err(error)) => Err(ReconcileError::Status(Box::new(error))),
        Err(_) => Err(ReconcileError::Deadline),
    }
}

/// This status for this object, and not for another that has its name since. (In a merge patch of the status the API
/// server overlooks the uid.)
pub fn patch(object: &Meta, status: Value) -> json_patch::Patch {
    json_patch::Patch(vec![
        PatchOperation::Test(TestOperation {
            path: PointerBuf::from_tokens(["metadata", "uid"]),
            value: json!(&*object.uid),
        }),
        PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(["status"]),
            value: status,
        }),
    ])
}

/// An Event when phase or reason changed.
fn tell(ctx: &Context, object: &Meta, before: Option<&TenantKmsStatus>, after: &TenantKmsStatus) {
    let said =
        |status: &TenantKmsStatus| Some((status.phase?, status.condition(Aspect::Ready)?.reason?));
    let (new, old) = (said(after), before.and_then(said));
    let Some((_, reason)) = new.filter(|_| new != old) else {
        return;
    };
    if reason == Reason::Verifying {
        return; // the verdict follows at once, and is worth an Event
    }
    let good = matches!(reason, Reason::Verified | Reason::Suspended);
    if let Some(ready) = after.condition(Aspect::Ready) {
        ctx.events.tell(object, reason, good, &ready.message);
    }
}
