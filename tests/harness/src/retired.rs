//! Time that has passed since a master key was retired: by a record that says so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use crate::Env;

const RECORD: &str = "record.json";
const LONG_AGO: &str = "2020-01-01T00:00:00Z";
/// Until the API server knows that the glass is broken.
const SOON: Duration = Duration::from_secs(20);

impl Env {
    /// Makes every retired master key of a tenant one that was retired long ago, so that it may be erased.
    /// An operator that runs reads the record again when its next write meets another one.
    pub async fn long_retired(&self, tenant: &str) -> Result<()> {
        let records = &self.records_namespace;
        let broken = "tenantkms.dev/break-glass=test";
        let args = ["annotate", "namespace", records, broken, "--overwrite"];
        self.control.kubectl(&args).await?.success()?;
        let secrets: Api<Secret> = Api::namespaced(self.client().await?, records);
        let labels = format!(
            "tenantkms.dev/tenant-namespace={},tenantkms.dev/tenant-name={tenant}",
            self.namespace
        );
        let list = ListParams::default().labels(&labels);
        let deadline = Instant::now() + SOON;
        loop {
            let mut found = secrets.list(&list).await?;
            let mut secret = found.items.pop().context("no record")?;
            let name = secret.metadata.name.clone().unwrap_or_default();
            let data = secret.data.as_mut().and_then(|data| data.get_mut(RECORD));
            let data = data.context("a record without its data")?;
            *data = ByteString(aged(&data.0)?);
            match secrets
                .replace(&name, &PostParams::default(), &secret)
                .await
            {
                Err(kube::Error::Api(refused)) if [403, 409].contains(&refused.code) => {
                    ensure!(Instant::now() < deadline, "{refused}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                replaced => return Ok(replaced.map(drop)?),
            }
        }
    }
}

fn aged(record: &[u8]) -> Result<Vec<u8>> {
    let mut body: Value = serde_json::from_slice(record)?;
    let keyring = &mut body["keyring"];
    let revision = keyring["revision"].as_u64().context("no keyring")?;
    keyring["revision"] = json!(revision + 1);
    for version in keyring["versions"].as_array_mut().into_iter().flatten() {
        if version["state"] == "retired" {
            version["retired"] = json!(LONG_AGO);
        }
    }
    Ok(serde_json::to_vec(&body)?)
}
