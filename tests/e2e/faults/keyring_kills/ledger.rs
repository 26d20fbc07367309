//! Every version of every record, as a watch shows them, held against what only the customers can tell:
//! each master key in the clear, opened with the key that the record names. Never writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::Key;
use futures::{StreamExt, pin_mut};
use harness::Env;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LAG: Duration = Duration::from_secs(20);

/// One version of one record.
#[derive(Debug)]
struct Seen {
    secret: String,
    resource_version: Option<String>,
    tenant: String,
    body: Value,
}

/// What was ever true of one tenant.
#[derive(Default)]
struct Known {
    keyring: Value,
    /// By id: the key in the clear and its commitment.
    keys: BTreeMap<String, (Vec<u8>, Value)>,
}

pub struct Ledger {
    secrets: Api<Secret>,
    seen: watch::Receiver<Vec<Arc<Seen>>>,
    task: JoinHandle<()>,
    /// How many of them were looked at.
    done: usize,
    known: BTreeMap<String, Known>,
    /// By tenant, the customer's keys that may wrap.
    keys: BTreeMap<String, Vec<Key>>,
    /// Ids that may be erased.
    erased: BTreeSet<String>,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ledger {
    pub async fn new(env: &Env, keys: BTreeMap<String, Vec<Key>>) -> Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(env.client().await?, &env.records_namespace);
        let versions = watcher(secrets.clone(), watcher::Config::default());
        let (sender, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            let versions = versions.default_backoff().applied_objects();
            pin_mut!(versions);
            while let Some(version) = versions.next().await {
                let Ok(secret) = version else { continue };
                let data = secret
                    .data
                    .as_ref()
                    .and_then(|data| data.get("record.json"));
                let body = data.and_then(|data| serde_json::from_slice(&data.0).ok());
                let one = Arc::new(Seen {
                    secret: secret.name_any(),
                    resource_version: secret.resource_version(),
                    tenant: secret
                        .labels()
                        .get("tenantkms.dev/tenant-name")
                        .cloned()
                        .unwrap_or_default(),
                    body: body.unwrap_or_default(),
                });
                sender.send_modify(|seen: &mut Vec<_>| seen.push(one));
            }
        });
        Ok(Self {
            secrets,
            seen,
            task,
            done: 0,
            known: BTreeMap::new(),
            keys,
            erased: BTreeSet::new(),
        })
    }

    pub fn may_erase(&mut self, id: &str) {
        self.erased.insert(id.to_owned());
    }

    /// The newest keyring of a tenant that was looked at; `Null` when there is none.
    pub fn keyring(&self, tenant: &str) -> Value {
        self.known
            .get(tenant)
            .map_or(Value::Null, |known| known.keyring.clone())
    }

    /// 0 when there is no keyring.
    pub fn revision(&self, tenant: &str) -> u64 {
        self.keyring(tenant)["revision"]
            .as_u64()
            .unwrap_or_default()
    }

    /// Waits for the next write that changes a keyring.
    pub async fn changed(&self, within: Duration) -> Result<()> {
        let done = self.done;
        let newer = |seen: &Vec<Arc<Seen>>| {
            let mut new = seen[done..].iter();
            new.any(|one| {
                one.body["keyring"]["revision"].as_u64() > Some(self.revision(&one.tenant))
            })
        };
        let mut seen = self.seen.clone();
        let next = tokio::time::timeout(within, seen.wait_for(newer)).await;
        next.context("no keyring was written")??;
        Ok(())
    }

    /// Looks at every version since the last time, up to those there are now.
    pub async fn look(&mut self) -> Result<()> {
        let now = self.secrets.list(&ListParams::default()).await?;
        let newest: BTreeMap<String, Option<String>> = now
            .iter()
            .map(|secret| (secret.name_any(), secret.resource_version()))
            .collect();
        let caught_up = |seen: &Vec<Arc<Seen>>| {
            newest.iter().all(|(name, version)| {
                seen.iter()
                    .any(|one| one.secret == *name && one.resource_version == *version)
            })
        };
        let waited = tokio::time::timeout(LAG, self.seen.wait_for(caught_up)).await;
        let all = waited
            .context("the watch of the records stands still")??
            .clone();
        for one in &all[self.done..] {
            self.version(one)
                .with_context(|| format!("{}: {:#}", one.tenant, one.body))?;
        }
        self.done = all.len();
        Ok(())
    }

    fn version(&mut self, one: &Seen) -> Result<()> {
        let body = &one.body;
        ensure!(body["tenantUid"].is_string(), "no sound record");
        ensure!(
            body.get("sealed").is_none() && body["sealEpoch"] == 0,
            "sealed"
        );
        let keyring = body["keyring"].clone();
        let known = self.known.entry(one.tenant.clone()).or_default();
        if keyring.is_null() {
            ensure!(known.keyring.is_null(), "the keyring is gone");
            return Ok(());
        }
        let (before, after) = (&known.keyring["revision"], &keyring["revision"]);
        let (before, after) = (
            before.as_u64().unwrap_or_default(),
            after.as_u64().unwrap_or_default(),
        );
        ensure!(after >= before, "revision {after} after {before}");
        ensure!(
            after != before || keyring == known.keyring,
            "changed under one revision"
        );
        ensure!(after <= before + 1, "revision {after} after {before}");

        let kek = &keyring["kek"];
        let named = kek["keyId"].as_str().context("no key")?;
        let mut own = self.keys.get(&one.tenant).into_iter().flatten();
        let key = own.find(|key| key.url().eq_ignore_ascii_case(named));
        let key = key.with_context(|| format!("{named} is not the customer's"))?;
        let version = kek["version"].as_str().context("no version")?;
        let all = keyring["versions"].as_array().context("no versions")?;
        let mut ids = BTreeSet::new();
        for (at, one) in all.iter().enumerate() {
            let id = one["id"].as_str().context("no id")?;
            ensure!(ids.insert(id), "{id} twice");
            ensure!(one["number"] == at + 1, "{id} is number {}", one["number"]);
            let active = one["state"] == "active";
            ensure!(active == (at + 1 == all.len()), "{id} is {}", one["state"]);
            if one["state"] == "erased" {
                ensure!(self.erased.contains(id), "nobody asked to erase {id}");
                ensure!(one.get("wrapped").is_none(), "{id} is erased and there");
                continue;
            }
            let wrapped = STANDARD.decode(one["wrapped"].as_str().context("no bytes")?)?;
            let opened = key.open(version, &wrapped);
            let opened = opened.with_context(|| format!("{id} does not open with {version}"))?;
            let same = known.keys.entry(id.to_owned());
            let same = same.or_insert_with(|| (opened.clone(), one["commitment"].clone()));
            ensure!(
                *same == (opened, one["commitment"].clone()),
                "{id} is another key now"
            );
        }
        let lost = known.keys.keys().find(|id| !ids.contains(id.as_str()));
        ensure!(lost.is_none(), "{lost:?} is lost");
        known.keyring = keyring;
        Ok(())
    }
}
