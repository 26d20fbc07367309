//! The records as they are stored, whole: a steady tenant's is not even written again. It only
//! reads, and shows of a record that has changed what differs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::node::Cluster;
use serde_json::Value;

/// Each record's Secret by its tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct Records(BTreeMap<String, (Value, Value)>);

impl Records {
    /// Those there are; exactly these tenants have one.
    pub async fn of(cluster: &Cluster, tenants: &[&str]) -> Result<Self> {
        let namespace = &cluster.env.records_namespace;
        let get = ["get", "secrets", "-n", namespace, "-o", "json"];
        let list: Value = serde_json::from_str(&cluster.kubectl(&get).await?)?;
        let mut records = BTreeMap::new();
        for mut secret in list["items"].as_array().cloned().unwrap_or_default() {
            if secret["type"] != "tenantkms.dev/record" {
                continue;
            }
            let data = secret["data"]["record.json"]
                .as_str()
                .context("no record in it")?;
            let content: Value = serde_json::from_slice(&STANDARD.decode(data)?)?;
            let tenant = content["tenant"].as_str().context("of no tenant")?;
            if let Some(metadata) = secret["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            records.insert(tenant.to_owned(), (content, secret));
        }
        let of = |name: &&str| format!("{}/{name}", cluster.env.namespace);
        let mut wanted: Vec<String> = tenants.iter().map(of).collect();
        wanted.sort();
        ensure!(
            records.keys().eq(&wanted),
            "records of {:?}",
            records.keys()
        );
        Ok(Self(records))
    }

    /// Fails when a record of `self` is another one now: other content, another Secret, or written
    /// again with the same.
    pub fn unchanged(&self, now: &Self) -> Result<()> {
        for (tenant, (content, secret)) in &self.0 {
            let (content_now, secret_now) = now.0.get(tenant).context("a record is gone")?;
            ensure!(
                content == content_now,
                "the record of {tenant} changed:\n{content:#}\n{content_now:#}"
            );
            ensure!(
                secret == secret_now,
                "the Secret of {tenant} changed:\n{}\n{}",
                secret["metadata"],
                secret_now["metadata"]
            );
        }
        Ok(())
    }
}
