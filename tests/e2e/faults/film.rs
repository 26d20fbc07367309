//! Every state of one tenant that the API server reports, in order and with the time it was seen:
//! what must not happen even for a moment is looked for here. Reads plain JSON, never the
//! product's own types.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use futures::{StreamExt, pin_mut};
use harness::Env;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub fn tenants(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tenantkms.dev", "v1alpha1", "TenantKms");
    let resource = ApiResource::from_gvk_with_plural(&kind, "tenantkmses");
    Api::namespaced_with(client, namespace, &resource)
}

/// One state and when it was seen.
#[derive(Debug)]
pub struct Frame {
    pub at: Instant,
    pub wall: SystemTime,
    pub object: Value,
}

/// Runs until dropped.
pub struct Film {
    name: String,
    frames: watch::Receiver<Vec<Arc<Frame>>>,
    task: JoinHandle<()>,
}

impl Drop for Film {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Film {
    /// Begins with the present state.
    pub async fn start(env: &Env, name: &str) -> Result<Self> {
        let api = tenants(env.client().await?, &env.namespace);
        let (sender, mut frames) = watch::channel(Vec::new());
        let watched = name.to_owned();
        let task = tokio::spawn(async move {
            let states = watcher::watch_object(api, &watched).default_backoff();
            pin_mut!(states);
            while let Some(state) = states.next().await {
                let Ok(Some(object)) = state else { continue };
                let object = serde_json::to_value(object).unwrap_or_default();
                let (at, wall) = (Instant::now(), SystemTime::now());
                let frame = Arc::new(Frame { at, wall, object });
                sender.send_modify(|frames: &mut Vec<_>| frames.push(frame));
            }
        });
        let first = tokio::time::timeout(
            Duration::from_secs(20),
            frames.wait_for(|frames| !frames.is_empty()),
        );
        first.await??;
        let name = name.to_owned();
        Ok(Self { name, frames, task })
    }

    pub fn last(&self) -> Value {
        let frames = self.frames.borrow();
        frames
            .last()
            .map(|frame| frame.object.clone())
            .unwrap_or_default()
    }

    /// The first state seen at or after `since` that `wanted` accepts.
    pub async fn until(
        &self,
        what: &str,
        since: Instant,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Arc<Frame>> {
        let find = |frames: &[Arc<Frame>]| {
            let mut later = frames.iter().filter(|frame| frame.at >= since);
            later.find(|frame| wanted(&frame.object)).cloned()
        };
        let mut frames = self.frames.clone();
        let found = frames.wait_for(|frames| find(frames).is_some());
        let Ok(found) = tokio::time::timeout(within, found).await else {
            let status = self.last()["status"].take();
            bail!(
                "{}: not {what} in {within:?}; its status:\n{status:#}",
                self.name
            );
        };
        let found = find(&found?);
        found.ok_or_else(|| anyhow::anyhow!("{}: {what} was there and is not", self.name))
    }

    /// Fails when any state seen so far was this.
    pub fn never(&self, what: &str, bad: impl Fn(&Value) -> bool) -> Result<()> {
        let frames = self.frames.borrow();
        if let Some(frame) = frames.iter().find(|frame| bad(&frame.object)) {
            let status = &frame.object["status"];
            bail!("{}: {what}; its status was:\n{status:#}", self.name);
        }
        Ok(())
    }

    /// Fails when the tenant was seen sealed, or not Active, at any time so far.
    pub fn always_active(&self) -> Result<()> {
        self.never("sealed by mistake", |object| is(object, "Sealed", "True"))?;
        self.never("not Active", |object| !is(object, "Active", "True"))
    }

    /// Fails unless every state seen so far had the same conditions, times included.
    pub fn unmoved(&self) -> Result<()> {
        let Some(first) = self
            .frames
            .borrow()
            .first()
            .map(|frame| conditions(&frame.object))
        else {
            bail!("{}: nothing was seen", self.name);
        };
        self.never(
            &format!("its conditions were {first:#} and changed"),
            |object| conditions(object) != first,
        )
    }
}

pub fn conditions(object: &Value) -> Value {
    object["status"]["conditions"].clone()
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    all.iter().find(|condition| condition["type"] == kind)
}

pub fn is(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == status)
}

pub fn sealed_for(object: &Value, reason: &str) -> bool {
    condition(object, "Sealed")
        .is_some_and(|sealed| sealed["status"] == "True" && sealed["reason"] == reason)
}
