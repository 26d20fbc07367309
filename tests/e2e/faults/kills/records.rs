//! What is on record, read as a person with a backup would: every Secret parses, each tenant has
//! exactly one, and nothing in it ever goes back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest;
use futures::StreamExt;
use futures::stream::BoxStream;
use harness::Env;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::Value;
use tokio::time::timeout;

type Versions = BoxStream<'static, Result<Secret, watcher::Error>>;

pub struct Records {
    secrets: Api<Secret>,
    /// Every version of every record, so that what is wrong for a moment is seen too.
    versions: Versions,
    namespace: String,
    /// The tenant that never gives a reason to seal it.
    untouched: String,
    /// By tenant, the newest version looked at.
    known: BTreeMap<String, Value>,
    /// By Secret, its `resourceVersion`.
    seen: BTreeMap<String, Option<String>>,
    unseals: usize,
    switches: usize,
}

fn hex_digest(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let half = hash.as_ref()[..16].iter();
    half.fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

impl Records {
    pub async fn new(env: &Env, untouched: &str) -> Result<Self> {
        let secrets = Api::namespaced(env.client().await?, &env.records_namespace);
        let all = watcher(secrets.clone(), watcher::Config::default());
        Ok(Self {
            secrets,
            versions: all.default_backoff().applied_objects().boxed(),
            namespace: env.namespace.clone(),
            untouched: format!("{}/{untouched}", env.namespace),
            known: BTreeMap::new(),
            seen: BTreeMap::new(),
            unseals: 0,
            switches: 0,
        })
    }

    /// Looks at every version since the last time, up to those there are now.
    pub async fn look(&mut self, names: &[&str]) -> Result<()> {
        let now = self.secrets.list(&ListParams::default()).await?;
        let versions = now
            .iter()
            .map(|secret| (secret.name_any(), secret.resource_version()));
        let mut newest: BTreeMap<_, _> = versions
            .filter(|(name, version)| self.seen.get(name) != Some(version))
            .collect();
        while !newest.is_empty() {
            let next = timeout(Duration::from_secs(20), self.versions.next()).await;
            let version = next.context("the watch of the records stands still")?;
            let secret = version.context("the watch of the records ended")??;
            let name = secret.name_any();
            if newest.get(&name) == Some(&secret.resource_version()) {
                newest.remove(&name);
            }
            self.seen.insert(name, secret.resource_version());
            self.version(secret)?;
        }
        let there: Vec<_> = now.iter().map(ResourceExt::name_any).collect();
        for tenant in self.known.keys() {
            let name = format!("tkms-{}", hex_digest(tenant));
            ensure!(there.contains(&name), "the record of {tenant} is gone");
            let known = names.iter().any(|name| *tenant == self.tenant(name));
            ensure!(known, "{tenant} is nobody");
        }
        ensure!(
            self.known.len() == self.seen.len(),
            "a tenant has two records"
        );
        Ok(())
    }

    /// One version of one record, after all before it.
    fn version(&mut self, secret: Secret) -> Result<()> {
        let name = secret.name_any();
        ensure!(
            secret.type_.as_deref() == Some("tenantkms.dev/record"),
            "{name} is no record"
        );
        let data = secret
            .data
            .as_ref()
            .and_then(|data| data.get("record.json"));
        let data = data.with_context(|| format!("{name} holds no record"))?;
        let after: Value =
            serde_json::from_slice(&data.0).with_context(|| format!("{name} does not parse"))?;
        let tenant = after["tenant"].as_str().unwrap_or_default().to_owned();
        ensure!(
            name == format!("tkms-{}", hex_digest(&tenant)),
            "{name} is {tenant}'s"
        );
        let format = if after.get("keyring").is_some() { 2 } else { 1 };
        ensure!(after["format"] == format, "{after}");
        let claim = after["claim"].as_str().map(hex_digest);
        let labels = secret.metadata.labels.unwrap_or_default();
        let label = labels.get("tenantkms.dev/claim").cloned();
        ensure!(
            claim == label,
            "{tenant}: the label {label:?} is not that of the claim"
        );
        ensure!(
            tenant != self.untouched || (after.get("sealed").is_none() && after["sealEpoch"] == 0),
            "{tenant} was sealed by mistake: {after}"
        );
        if let Some(before) = self.known.get(&tenant) {
            let has = |record: &Value, field: &str| record.get(field).is_some();
            self.unseals += usize::from(has(before, "sealed") && !has(&after, "sealed"));
            self.switches += usize::from(has(before, "claim") && before["claim"] != after["claim"]);
            successor(before, &after)
                .with_context(|| format!("{tenant}: {before}\nthen {after}"))?;
        }
        self.known.insert(tenant, after);
        Ok(())
    }

    pub fn is_applied(&self, name: &str) -> bool {
        let record = self.known.get(&self.tenant(name));
        record.is_some_and(|record| record["applied"].is_object())
    }

    /// Fails unless this key is in force and claimed, and the tenant is not sealed.
    pub fn has_in_force(&self, name: &str, key: &str) -> Result<()> {
        let record = self.known.get(&self.tenant(name)).context("no record")?;
        let in_force = &record["applied"]["spec"]["kmsKeyRef"];
        let claimed = record["claim"].as_str().unwrap_or_default();
        ensure!(
            *in_force == key && claimed.eq_ignore_ascii_case(key) && record.get("sealed").is_none(),
            "{name} should have {key} in force: {record}"
        );
        Ok(())
    }

    /// Seals, unseals and changes of key that are on record.
    pub fn counts(&self) -> (u64, usize, usize) {
        let epochs = self
            .known
            .values()
            .filter_map(|record| record["sealEpoch"].as_u64());
        (epochs.sum(), self.unseals, self.switches)
    }

    fn tenant(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }
}

/// Whether one record may have become the other.
fn successor(before: &Value, after: &Value) -> Result<()> {
    for field in ["tenantUid", "namespaceUid"] {
        ensure!(
            before[field].is_string() && before[field] == after[field],
            "{field} changed"
        );
    }
    let epoch = |record: &Value| record["sealEpoch"].as_u64().context("no seal epoch");
    ensure!(epoch(after)? >= epoch(before)?, "the seal epoch went back");
    let new_seal = before.get("sealed").is_none() && after.get("sealed").is_some();
    ensure!(
        !new_seal || epoch(after)? > epoch(before)?,
        "sealed under an old epoch"
    );
    for field in ["claim", "applied"] {
        let lost = before.get(field).is_some() && after.get(field).is_none();
        ensure!(!lost, "{field} was lost");
    }
    let handled = |record: &Value| {
        let value = record["handled"]["verifyRequestedAt"].as_str();
        value
            .and_then(|value| value.parse::<u32>().ok())
            .unwrap_or_default()
    };
    ensure!(
        handled(after) >= handled(before),
        "a handled request was forgotten"
    );
    Ok(())
}
