//! Two installations never share an object: the holder claims each by an annotation, applied
//! server-side without force. A conflict means hands off.

use std::time::Duration;

use kube::Resource;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use serde_json::json;
use tokio::time::timeout;
use tracing::debug;

use super::context::Context;
use super::outcome::ReconcileError;
use crate::api::TenantKms;
use crate::provider::TenantId;

const ANNOTATION: &str = "tenantkms.dev/installation";
const DEADLINE: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    Ours,
    Foreign,
}

/// The installation that has claimed it.
pub fn owner(object: &ObjectMeta) -> Option<&str> {
    let annotations = object.annotations.as_ref()?;
    annotations.get(ANNOTATION).map(String::as_str)
}

/// Whether another installation has claimed it.
pub fn is_foreign(ctx: &Context, object: &ObjectMeta) -> bool {
    owner(object).is_some_and(|owner| owner != ctx.installation)
}

/// Claims the object for this installation, once.
pub async fn claim(ctx: &Context, object: &ObjectMeta) -> Result<Claimed, ReconcileError> {
    match owner(object) {
        Some(owner) if owner == ctx.installation => return Ok(Claimed::Ours),
        Some(_) => return Ok(Claimed::Foreign),
        None => {}
    }
    if !ctx.may_write(ctx.clock.now()) {
        return Err(ReconcileError::NotHolder);
    }
    let namespace = object.namespace.clone().unwrap_or_default();
    let api: Api<TenantKms> = Api::namespaced(ctx.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": TenantKms::api_version(&()),
        "kind": TenantKms::kind(&()),
        "metadata": {
            // An object of the same name that was created meanwhile is not the one we saw.
            "uid": object.uid,
            "annotations": { ANNOTATION: ctx.installation },
        },
    });
    // An own manager for nothing but the claim: a manager that also owned the spec would remove it.
    let params = PatchParams::apply(&format!("tenant-kms-claim-{}", ctx.installation));
    let name = object.name.clone().unwrap_or_default();
    ctx.turn(&TenantId::new(&namespace, &name), false)?;
    match timeout(
        DEADLINE,
        api.patch_metadata(&name, &params, &Patch::Apply(&patch)),
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
