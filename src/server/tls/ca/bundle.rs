//! What clients trust, in a `ConfigMap` of each namespace that they run in. One namespace's trouble
//! stops no other.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::timeout;
use tracing::{info, warn};

use super::secret::labels;
use crate::controller::lease::describe;
use crate::controller::namespaces::Namespaces;
use crate::credentials::{APPLY, Cluster, subject};

pub const CONFIG_MAP: &str = "tenant-kms-ca";
pub const DATA_KEY: &str = "ca.crt";
const DEADLINE: Duration = Duration::from_secs(4);
const AT_ONCE: usize = 4;

pub struct Bundles {
    client: Client,
    cluster: Cluster,
    existing: Namespaces,
    namespaces: Vec<String>,
    /// What was said of a namespace, so that it is said once.
    said: HashMap<String, String>,
}

/// What is not published, for people; and whether a client could miss it.
#[derive(Debug, Default)]
pub struct Missing {
    pub told: Vec<String>,
    pub matters: bool,
}

impl Bundles {
    pub fn new(client: Client, namespaces: Vec<String>) -> Self {
        Self {
            cluster: Cluster::new(client.clone()),
            existing: Namespaces::new(client.clone()),
            client,
            namespaces,
            said: HashMap::new(),
        }
    }

    /// Makes every `ConfigMap` hold `bundle`; what does already is not written.
    pub async fn publish(&mut self, bundle: &str) -> Missing {
        let (client, namespaces) = (&self.client, self.namespaces.clone());
        let all = stream::iter(namespaces).map(|namespace| async move {
            let maps = Api::namespaced(client.clone(), &namespace);
            let result = timeout(DEADLINE, put(&maps, bundle)).await;
            (namespace, result)
        });
        let all: Vec<_> = all.buffer_unordered(AT_ONCE).collect().await;
        let mut missing = Missing::default();
        for (namespace, result) in all {
            let error = match result {
                Ok(Ok(written)) => {
                    if written {
                        info!(%namespace, "ConfigMap {CONFIG_MAP} written");
                    }
                    self.said.remove(&namespace);
                    continue;
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            // Nobody can miss it in a namespace that is not there.
            let absent = self.is_absent(&namespace, error.as_ref()).await;
            missing.matters |= !absent;
            let told = self.told(&namespace, absent, error).await;
            if self.said.get(&namespace) != Some(&told) {
                warn!(%namespace, "{told}");
                self.said.insert(namespace, told.clone());
            }
            missing.told.push(told);
        }
        missing.told.sort_unstable();
        missing
    }

    /// Without a Role in it, the API server says of a namespace that is not there what it says of
    /// any other.
    async fn is_absent(&self, namespace: &str, error: Option<&kube::Error>) -> bool {
        match error {
            Some(kube::Error::Api(status)) if status.code == 404 => true,
            Some(kube::Error::Api(status)) if status.code == 403 => {
                matches!(self.existing.ends(namespace).await, Ok(true))
            }
            _ => false,
        }
    }

    async fn told(&self, namespace: &str, absent: bool, error: Option<kube::Error>) -> String {
        let what = format!("ConfigMap {namespace}/{CONFIG_MAP} is not kept current");
        match error {
            _ if absent => format!(
                "{what}: there is no namespace {namespace}, or it is being deleted. Take it out of \
                 --ca-namespaces, or: kubectl create namespace '{namespace}'"
            ),
            Some(kube::Error::Api(status)) if status.code == 403 => format!(
                "{what}: a Role is missing. List the namespace in the chart's agent.tls.caNamespaces, or: \
                 kubectl create role {CONFIG_MAP} --namespace '{namespace}' --verb get,create,update \
                 --resource configmaps {APPLY} && kubectl create rolebinding {CONFIG_MAP} --namespace \
                 '{namespace}' --role {CONFIG_MAP} {} {APPLY}",
                subject(self.cluster.me().await)
            ),
            Some(error @ kube::Error::Api(_)) => format!(
                "{what}: the API server refused it: {}. If it is immutable: kubectl delete configmap \
                 {CONFIG_MAP} --namespace '{namespace}'",
                describe(&error)
            ),
            _ => format!("{what}: the API server gave no usable answer; it is tried again"),
        }
    }
}

/// Whether it had to be written.
async fn put(maps: &Api<ConfigMap>, bundle: &str) -> Result<bool, kube::Error> {
    let params = PostParams::default();
    let Some(mut map) = maps.get_opt(CONFIG_MAP).await? else {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(CONFIG_MAP.to_owned()),
                labels: Some(labels()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(DATA_KEY.to_owned(), bundle.to_owned())])),
            ..ConfigMap::default()
        };
        return maps.create(&params, &map).await.map(|_| true);
    };
    let data = map.data.get_or_insert_default();
    if data.get(DATA_KEY).is_some_and(|held| held == bundle) {
        return Ok(false);
    }
    data.insert(DATA_KEY.to_owned(), bundle.to_owned());
    // With the version that was read: whoever wrote meanwhile is looked at in the next round.
    maps.replace(CONFIG_MAP, &params, &map).await.map(|_| true)
}
