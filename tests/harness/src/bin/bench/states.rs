//! Every tenant's phase as a client of the API sees it, with the moment it was seen first.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

type Seen = HashMap<String, (String, Instant)>;

#[derive(Debug)]
pub struct States {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl States {
    pub fn watch(api: Api<DynamicObject>) -> Self {
        let (sender, seen) = watch::channel(Seen::new());
        let task = tokio::spawn(async move {
            let objects = watcher(api, watcher::Config::default()).default_backoff();
            let mut objects = std::pin::pin!(objects.applied_objects());
            while let Some(event) = objects.next().await {
                // The watcher tries again by itself.
                let Ok(object) = event else { continue };
                let phase = object.data["status"]["phase"].as_str().unwrap_or_default();
                let name = object.name_any();
                sender.send_if_modified(|seen| {
                    let changed = seen.get(&name).is_none_or(|(before, _)| before != phase);
                    if changed {
                        seen.insert(name, (phase.to_owned(), Instant::now()));
                    }
                    changed
                });
            }
        });
        Self { seen, task }
    }

    /// When the tenant was first seen in the phase it is in, once that is `phase`.
    pub async fn wait(&self, name: &str, phase: &str, within: Duration) -> Result<Instant> {
        let mut seen = self.seen.clone();
        let there = seen.wait_for(|seen| seen.get(name).is_some_and(|(now, _)| now == phase));
        let seen = tokio::time::timeout(within, there)
            .await
            .with_context(|| format!("{name} is not {phase} in {within:?}"))??;
        let (_, at) = seen.get(name).context("seen a moment ago")?;
        Ok(*at)
    }
}

impl Drop for States {
    fn drop(&mut self) {
        self.task.abort();
    }
}
