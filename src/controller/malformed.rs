//! An object that this version cannot read gets a status that says so, and nothing else. It is
//! written when it is not already there, and never for a restart or an echo of our own write.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::warn;

use super::context::Context;
use super::installation::{self, Claimed};
use super::lease::describe;
use super::object::Meta;
use super::outcome::{Outcome, ReconcileError};
use crate::api::{Reason, TenantKms};
use crate::lock::lock;

const DEADLINE: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_mins(1);
const MESSAGE: &str = "This version of the operator cannot read the spec. Compare it with \
                       `kubectl explain tenantkms.spec`, and upgrade the operator if the CRD is newer.";

pub async fn reconcile(ctx: &Context, object: &Meta) -> (Outcome, Option<Duration>) {
    let id = &object.id;
    ctx.forget_memory(id);
    if !*ctx.held.borrow() || !ctx.may_write(ctx.clock.now()) {
        return (Outcome::Malformed, Some(AGAIN));
    }
    match installation::claim(ctx, object).await {
        Ok(Claimed::Ours) => {}
        Ok(Claimed::Foreign) => return (Outcome::Foreign, None),
        Err(ReconcileError::Turn(wait)) => return (Outcome::Malformed, Some(wait)),
        Err(error) => {
            warn!(tenant = %id, %error, "the object could not be claimed");
            return (Outcome::ApiError, Some(AGAIN));
        }
    }
    let version = |version: &str| (object.uid.to_string(), version.to_owned());
    if lock(&ctx.malformed).get(id) == Some(&version(&object.resource_version)) {
        return (Outcome::Malformed, None);
    }
    if let Err(ReconcileError::Turn(wait)) = ctx.turn(id, false) {
        return (Outcome::Malformed, Some(wait));
    }
    match tell(ctx, object).await {
        Ok(told) => {
            lock(&ctx.malformed).insert(id.clone(), version(&told));
            (Outcome::Malformed, None)
        }
        Err(error) => {
            warn!(tenant = %id, error, "the status could not be written");
            (Outcome::ApiError, Some(AGAIN))
        }
    }
}

/// Writes the status unless it is there; gives the version of the object that says it.
async fn tell(ctx: &Context, object: &Meta) -> Result<String, String> {
    let id = &object.id;
    let resource = ApiResource::erase::<TenantKms>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &id.namespace, &resource);
    let mut found = within(api.get(&id.name)).await?;
    let conditions = conditions(object.generation);
    if found.data["status"]["phase"] == "Pending" && says(&found.data, &conditions) {
        return Ok(found.resource_version().unwrap_or_default());
    }
    // The parser's own words may repeat a value: they go nowhere.
    warn!(tenant = %id, "the object cannot be read");
    let now = ctx.clock.now().timestamp();
    let dated = conditions.into_iter().map(|mut one| {
        one["lastTransitionTime"] = json!(now);
        one
    });
    // What else it says may be of a version that can read the object.
    let mut status = found.data["status"].take();
    status["phase"] = json!("Pending");
    status["conditions"] = dated.collect();
    let patch = Patch::<()>::Json(super::status::patch(object, status));
    let params = PatchParams::default();
    let written = within(api.patch_status(&id.name, &params, &patch)).await?;
    Ok(written.resource_version().unwrap_or_default())
}

/// What is to be said, without times.
fn conditions(generation: i64) -> Vec<Value> {
    let condition = |(type_, status): (&str, &str)| {
        json!({
            "type": type_, "status": status, "reason": Reason::ProviderNotBuilt.name(),
            "message": MESSAGE, "observedGeneration": generation,
        })
    };
    [
        ("Ready", "False"),
        ("Active", "False"),
        ("Sealed", "False"),
        ("ConfigAccepted", "False"),
        ("Stalled", "True"),
    ]
    .map(condition)
    .to_vec()
}

/// Whether the object says just that already, whenever it was said.
fn says(object: &Value, wanted: &[Value]) -> bool {
    let mut found = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for one in found.iter_mut().filter_map(Value::as_object_mut) {
        one.remove("lastTransitionTime");
    }
    found == wanted
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err("the API server did not answer in time".to_owned()),
    }
}
