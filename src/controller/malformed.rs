//! An object that this version cannot read gets a status that says so, and nothing else.

use std::time::Duration;

use kube::Resource;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::discovery::ApiResource;
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::context::{Context, lock};
use super::outcome::Outcome;
use crate::api::{Reason, TenantKms};
use crate::provider::TenantId;

const DEADLINE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_mins(1);
const MESSAGE: &str = "This version of the operator cannot read the spec. Compare it with \
                       `kubectl explain tenantkms.spec`, and upgrade the operator if the CRD is newer.";

pub async fn reconcile(ctx: &Context, invalid: &InvalidObject) -> (Outcome, Option<Duration>) {
    let id = TenantId {
        namespace: invalid.metadata.namespace.clone().unwrap_or_default(),
        name: invalid.metadata.name.clone().unwrap_or_default(),
    };
    ctx.forget_memory(&id);
    let now = ctx.clock.now();
    let ours = invalid
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get("tenantkms.dev/installation"))
        .is_some_and(|owner| *owner == ctx.installation);
    if !ours || !ctx.may_write(now) {
        return (Outcome::Malformed, Some(AGAIN));
    }
    let seen = (invalid.metadata.uid.clone(), invalid.metadata.generation);
    if lock(&ctx.malformed).insert(id.clone(), seen.clone()) == Some(seen) {
        return (Outcome::Malformed, None); // said already
    }
    // The parser's own words may repeat a value: they go nowhere.
    warn!(tenant = %id, "the object cannot be read");
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": Reason::ProviderNotBuilt.name(),
            "message": MESSAGE, "lastTransitionTime": now.timestamp(),
            "observedGeneration": invalid.metadata.generation,
        })
    };
    let patch = json!({ "status": { "phase": "Pending", "conditions": [
        condition("Ready", "False"), condition("Active", "False"), condition("Sealed", "False"),
        condition("ConfigAccepted", "False"), condition("Stalled", "True"),
    ] } });
    let resource = ApiResource::erase::<TenantKms>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &id.namespace, &resource);
    ctx.gate.pass(false).await;
    let params = PatchParams::default();
    let patch = Patch::Merge(&patch);
    let written = api.patch_status(&id.name, &params, &patch);
    if !matches!(timeout(DEADLINE, written).await, Ok(Ok(_))) {
        warn!(tenant = %id, plural = %TenantKms::plural(&()), "the status could not be written");
    }
    (Outcome::Malformed, Some(AGAIN))
}
