//! `TenantKms` objects as a client of the API sees them: plain JSON, so that a
//! test never reads an object through the product's own types.

use std::time::Duration;

use anyhow::{Result, bail};
use futures::{StreamExt, pin_mut};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

pub(crate) fn tenants(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tenantkms.dev", "v1alpha1", "TenantKms");
    let resource = ApiResource::from_gvk_with_plural(&kind, "tenantkmses");
    Api::namespaced_with(client, namespace, &resource)
}

/// Watches an object until `predicate` holds for one of its states; the error
/// ends with the last state seen. Survives an API server that goes away.
pub(crate) async fn wait(
    api: Api<DynamicObject>,
    name: &str,
    within: Duration,
    mut predicate: impl FnMut(&Value) -> bool,
) -> Result<Value> {
    let deadline = Instant::now() + within;
    let states = watcher::watch_object(api, name).default_backoff();
    pin_mut!(states);
    let mut last = Value::Null;
    let mut trouble = None;
    while let Ok(Some(state)) = timeout_at(deadline, states.next()).await {
        match state {
            Ok(None) => last = Value::Null,
            Ok(Some(object)) => {
                last = serde_json::to_value(object)?;
                if predicate(&last) {
                    return Ok(last);
                }
            }
            Err(error) => trouble = Some(error),
        }
    }
    let trouble = trouble
        .map(|error| format!("\nthe watch failed: {error}"))
        .unwrap_or_default();
    if let Some(fields) = last.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        fields.remove("managedFields");
    }
    bail!("not in {within:?}; the object at last:\n{last:#}{trouble}")
}

/// Whether a condition has this status (and reason), decided for the object's
/// present generation when it says for which it was decided.
pub(crate) fn has_condition(
    object: &Value,
    type_: &str,
    status: &str,
    reason: Option<&str>,
) -> bool {
    let generation = object.pointer("/metadata/generation");
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let decided = condition.get("observedGeneration");
        condition["type"] == type_
            && condition["status"] == status
            && reason.is_none_or(|reason| condition["reason"] == reason)
            && (decided.is_none() || decided == generation)
    })
}

#[test]
fn a_condition_counts_for_the_present_generation_only() {
    let object = |observed: Value| {
        let condition = serde_json::json!({
            "type": "Active", "status": "True", "reason": "Verified", "observedGeneration": observed,
        });
        serde_json::json!({ "metadata": { "generation": 2 }, "status": { "conditions": [condition] } })
    };
    let present = object(2.into());
    assert!(has_condition(&present, "Active", "True", None));
    assert!(has_condition(&present, "Active", "True", Some("Verified")));
    for (kind, status, reason) in [
        ("Active", "True", "KeyDisabled"),
        ("Active", "False", "Verified"),
        ("Ready", "True", "Verified"),
    ] {
        assert!(!has_condition(&present, kind, status, Some(reason)));
    }
    assert!(!has_condition(&object(1.into()), "Active", "True", None));
}
