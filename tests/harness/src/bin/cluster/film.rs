//! Every state of the tenants that the API server reports from the first one on, judged as it
//! comes: what must not happen even for a moment is looked for here. It only looks.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, pin_mut};
use harness::node::Cluster;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Runs until dropped.
#[derive(Debug)]
pub struct Film {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// How each tenant was at first; no others are looked at.
    first: BTreeMap<String, Value>,
    last: BTreeMap<String, Value>,
    frames: usize,
    /// The first state that was another one.
    moved: Option<String>,
}

impl Drop for Film {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Film {
    /// Begins with the present state of these tenants.
    pub async fn start(cluster: &Cluster, names: &[&str]) -> Result<Self> {
        let kind = GroupVersionKind::gvk("tenantkms.dev", "v1alpha1", "TenantKms");
        let resource = ApiResource::from_gvk_with_plural(&kind, "tenantkmses");
        let client = cluster.env.client().await?;
        let namespace = &cluster.env.namespace;
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let count = names.len();
        let (sender, mut seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move {
            let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let (object, gone) = match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                    Ok(Event::Delete(object)) => (object, true),
                    // It lists again; a state missed in between shows by its times.
                    _ => continue,
                };
                let name = object.metadata.name.clone().unwrap_or_default();
                let object = serde_json::to_value(object).unwrap_or_default();
                if names.contains(&name) {
                    sender.send_modify(|seen: &mut Seen| seen.add(name, object, gone));
                }
            }
        });
        let all = seen.wait_for(|seen| seen.first.len() == count);
        timeout(Duration::from_secs(20), all)
            .await
            .context("not all tenants are there")??;
        Ok(Self { seen, task })
    }

    /// Fails when any tenant was seen in another state than at first: another condition, another
    /// time of one, another phase, sealed, or not at all.
    pub fn unmoved(&self) -> Result<()> {
        let seen = self.seen.borrow();
        match &seen.moved {
            None => Ok(()),
            Some(moved) => bail!("a tenant's state changed, of {} seen: {moved}", seen.frames),
        }
    }

    /// Waits until a state of this tenant is seen.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let mut seen = self.seen.clone();
        let found = seen.wait_for(|seen| seen.last.get(name).is_some_and(&wanted));
        let found = timeout(Duration::from_secs(30), found).await;
        found.with_context(|| format!("{name} was not seen {what}"))??;
        Ok(())
    }

    /// The end: what was seen so far was all there was, and a change would have been noticed.
    pub async fn proves(&self, cluster: &Cluster, name: &str) -> Result<()> {
        self.unmoved()?;
        let mark = format!("{}", self.seen.borrow().frames + 1);
        let annotation = format!("check.tenantkms.dev/seen={mark}");
        let annotate = ["annotate", "tkms", name, &annotation, "--overwrite"];
        cluster.env.kubectl(&annotate).await?.success()?;
        self.until(name, "annotated", |object| {
            object["metadata"]["annotations"]["check.tenantkms.dev/seen"] == mark.as_str()
        })
        .await?;
        self.unmoved()
    }

    /// Fails unless a change of this tenant's state was noticed.
    pub fn noticed(&self, name: &str) -> Result<()> {
        let seen = self.seen.borrow();
        let moved = seen.moved.as_deref().unwrap_or_default();
        ensure!(moved.starts_with(name), "a seal went unnoticed: {moved:?}");
        Ok(())
    }
}

impl Seen {
    fn add(&mut self, name: String, object: Value, gone: bool) {
        self.frames += 1;
        let state = if gone { json!("gone") } else { state(&object) };
        let first = self
            .first
            .entry(name.clone())
            .or_insert_with(|| state.clone());
        if *first != state && self.moved.is_none() {
            self.moved = Some(format!("{name}: it was {first}, then {state}"));
        }
        self.last.insert(name, object);
    }
}

/// What may not change: which object it is, what was asked of it, and each condition since when.
fn state(object: &Value) -> Value {
    let conditions = object.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    let fields = ["type", "status", "reason", "lastTransitionTime"];
    let told: Vec<Vec<Value>> = conditions
        .map(|of| fields.iter().map(|field| of[field].clone()).collect())
        .collect();
    json!({
        "uid": object["metadata"]["uid"],
        "generation": object["metadata"]["generation"],
        "phase": object["status"]["phase"],
        "sealedSince": object["status"]["sealedSince"],
        "conditions": told,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_that_has_passed_is_remembered() {
        let object = |sealed: &str, since: &str| {
            json!({ "status": { "conditions": [
                { "type": "Sealed", "status": sealed, "lastTransitionTime": since, "message": since },
            ] } })
        };
        let mut seen = Seen::default();
        let add = |seen: &mut Seen, object| seen.add("acme".to_owned(), object, false);
        add(&mut seen, object("False", "1"));
        add(&mut seen, object("False", "1"));
        assert!(seen.moved.is_none());
        let mut once = Seen::default();
        add(&mut once, object("False", "1"));
        add(&mut once, object("False", "2"));
        assert!(once.moved.is_some(), "sealed and unsealed, unseen");
        add(&mut seen, object("True", "2"));
        add(&mut seen, object("False", "3"));
        assert!(seen.moved.is_some_and(|moved| moved.contains("True")));
        let mut gone = Seen::default();
        add(&mut gone, object("False", "1"));
        gone.add("acme".to_owned(), object("False", "1"), true);
        assert!(gone.moved.is_some());
    }
}
