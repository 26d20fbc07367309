//! Two installations never share an object: the holder claims each by an annotation, applied
//! server-side without force. A conflict means hands off.

use std::time::Duration;

use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::timeout;
use tracing::debug;

use super::context::Context;
use super::object::Meta;
use super::outcome::ReconcileError;
use crate::api::TenantKms;

pub const ANNOTATION: &str = "tenantkms.dev/installation";
const DEADLINE: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    Ours,
    Foreign,
}

/// The installation that has claimed it.
pub fn owner(object: &Meta) -> Option<&str> {
    object.annotations.get(ANNOTATION)
}

/// Whether another installation has claimed it.
pub fn is_foreign(ctx: &Context, object: &Meta) -> bool {
    owner(object).is_some_and(|owner| owner != ctx.installation)
}

/// Claims the object for this installation, once.
pub async fn claim(ctx: &Context, object: &Meta) -> Result<Claimed, ReconcileError> {
    match owner(object) {
        Some(owner) if owner == ctx.installation => return Ok(Claimed::Ours),
        Some(_) => return Ok(Claimed::Foreign),
        None => {}
    }
    if !ctx.may_write(ctx.clock.now()) {
        return Err(ReconcileError::NotHolder);
    }
    let (namespace, name) = object.id.parts();
    let api: Api<TenantKms> = Api::namespaced(ctx.client.clone(), namespace);
    let patch = json!({
        "apiVersion": TenantKms::api_version(&()),
        "kind": TenantKms::kind(&()),
        "metadata": {
            // An object of the same name that was created meanwhile is not the one we saw.
            "uid": &*object.uid,
            "annotations": { ANNOTATION: ctx.installation },
        },
    });
    // An own manager for nothing but the claim: a manager that also owned the spec would remove it.
    let params = PatchParams::apply(&format!("tenant-kms-claim-{}", ctx.installation));
    ctx.turn(&object.id, false)?;
    match timeout(
        DEADLINE,
        api.patch_metadata(name, &params, &Patch::Apply(&patch)),
    )
    .await
    {
        Ok(Ok(_)) => Ok(Claimed::Ours),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
            debug!(object = %name, "another installation claimed the object first");
            Ok(Claimed::Foreign)
        }
        Ok(Err(error)) => Err(ReconcileError::Status(Box::new(error))),
        Err(_) => Err(ReconcileError::Deadline),
    }
}
