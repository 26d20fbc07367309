//! A one-node cluster with the chart installed by helm, beside the loopback clouds. Everything that
//! a test could look at is the cluster's own: nothing is rendered or applied another way.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::forward::Forward;
use super::pods::Pod;
use super::{ADDRESS, image};
use crate::{ControlPlane, Env, Names, binary};

/// As in docs/install-on-aks.md. The chart's objects are called the same, its ServiceAccount too.
const RELEASE: &str = "tenant-kms-operator";
const CHART: &str = "charts/tenant-kms-operator";
const IMAGE: &str = "localhost/tenant-kms-operator";
const SECRET: &str = "client-secrets";
const ROOTS: &str = "proxy-ca";

/// A running cluster; it ends with its namespaces.
#[derive(Debug)]
pub struct Cluster {
    pub env: Env,
    /// What the image holds, uncompressed, in bytes.
    pub image_size: u64,
    proxy: Forward,
    imds: Forward,
}

impl Cluster {
    /// Starts one, in namespaces that were [entered](super::enter), with the image made of the
    /// static `program`. Nothing is installed yet.
    pub async fn start(cgroup: &str, program: &Path) -> Result<Self> {
        let control = Arc::new(ControlPlane::start_with_node(cgroup).await?);
        let env = Env::without_rights(control, Names::documented(), false).await?;
        let image_size = images(env.dir.path(), program).await?;
        let cluster = Self {
            proxy: Forward::to(env.cloud.proxy_url()).await?,
            imds: Forward::to(&env.cloud.imds_url()).await?,
            image_size,
            env,
        };
        let level = "pod-security.kubernetes.io/enforce=restricted";
        let namespace = &cluster.env.operator_namespace;
        cluster
            .kubectl(&["label", "namespace", namespace, level])
            .await?;
        let roots = format!(
            "--from-file=ca.crt={}",
            cluster.env.cloud.ca_file().display()
        );
        cluster
            .operators(&["create", "configmap", ROOTS, &roots])
            .await?;
        Ok(cluster)
    }

    /// `helm install` with the environment's configuration and secrets and further values such as
    /// `replicaCount=3` (JSON), until both replicas are ready; how long that took.
    pub async fn install(&self, set: &[&str]) -> Result<Duration> {
        let folder = format!("--from-file={}", self.env.secret_dir.display());
        if self.operators(&["get", "secret", SECRET]).await.is_err() {
            self.operators(&["create", "secret", "generic", SECRET, &folder])
                .await?;
        }
        self.helm(&["install", RELEASE, CHART], set).await
    }

    /// The same by `helm upgrade`.
    pub async fn upgrade(&self, set: &[&str]) -> Result<Duration> {
        self.helm(&["upgrade", RELEASE, CHART], set).await
    }

    pub async fn rollback(&self) -> Result<()> {
        let args = ["rollback", RELEASE, "--wait", "--timeout", "90s"];
        self.release(&args).await.map(drop)
    }

    pub async fn uninstall(&self) -> Result<()> {
        let args = ["uninstall", RELEASE, "--wait", "--timeout", "90s"];
        self.release(&args).await.map(drop)
    }

    async fn helm(&self, what: &[&str], set: &[&str]) -> Result<Duration> {
        let values = self.env.dir.path().join("values.yaml");
        fs::write(&values, self.values()?.to_string())?;
        let values = values.display().to_string();
        let mut args = what.to_vec();
        args.extend(["--values", &values, "--wait", "--timeout", "90s"]);
        for value in set {
            args.extend(["--set-json", value]);
        }
        let since = Instant::now();
        if let Err(error) = self.release(&args).await {
            let state = self.operators(&["describe", "pods"]).await;
            return Err(error.context(format!("the pods: {}", state.unwrap_or_default())));
        }
        Ok(since.elapsed())
    }

    fn values(&self) -> Result<Value> {
        let mut config: Value = serde_yaml_ng::from_str(&fs::read_to_string(&self.env.config)?)?;
        // The chart wants a variable's tenants beside its Secret.
        let variables = config
            .as_object_mut()
            .and_then(|config| config.remove("clientSecretVariables"))
            .unwrap_or_default();
        let mut secrets = Vec::new();
        for variable in variables.as_array().into_iter().flatten() {
            let name = &variable["name"];
            secrets.push(json!({
                "name": name, "secretName": SECRET, "key": name, "tenants": variable["tenants"],
            }));
        }
        Ok(json!({
            "image": { "repository": IMAGE, "tag": "dev", "pullPolicy": "Never" },
            "config": config,
            "clientSecrets": secrets,
            "records": { "namespace": self.env.records_namespace },
            "proxy": { "https": self.proxy.url(), "http": self.proxy.url(), "noProxy": ADDRESS },
            "caBundle": { "configMapName": ROOTS },
            "extraEnv": [
                { "name": "AZURE_POD_IDENTITY_AUTHORITY_HOST", "value": self.imds.url() },
            ],
        }))
    }

    /// The operator's `ServiceAccount`.
    pub fn account(&self) -> &str {
        RELEASE
    }

    /// The subject of that account's tokens.
    pub fn subject(&self) -> String {
        let namespace = &self.env.operator_namespace;
        format!("system:serviceaccount:{namespace}:{RELEASE}")
    }

    /// The port of the proxy that the operator is told to use.
    pub fn proxy_port(&self) -> String {
        let port = self.proxy.url().rsplit(':').next();
        port.unwrap_or_default().to_owned()
    }

    /// `helm ARGS` in the operator's namespace.
    async fn release(&self, args: &[&str]) -> Result<String> {
        let namespace = ["--namespace", self.env.operator_namespace.as_str()];
        let args = [args, &namespace].concat();
        let said = self.env.control.helm(&args).await?.success();
        said.with_context(|| format!("helm {}", args.join(" ")))
    }

    /// `kubectl ARGS` in the operator's namespace.
    pub async fn operators(&self, args: &[&str]) -> Result<String> {
        let namespace = ["--namespace", self.env.operator_namespace.as_str()];
        self.kubectl(&[&namespace, args].concat()).await
    }

    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let said = self.env.control.kubectl(args).await?;
        said.success()
            .with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// The operator's pods that are not ending.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let said = self.operators(&["get", "pods", "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&said)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().filter_map(Pod::of).collect())
    }

    /// Waits until exactly two replicas run and are ready.
    pub async fn both_ready(&self, within: Duration) -> Result<Vec<Pod>> {
        let deadline = Instant::now() + within;
        loop {
            let pods = self.pods().await?;
            if pods.len() == 2 && pods.iter().all(|pod| pod.ready) {
                return Ok(pods);
            }
            if Instant::now() > deadline {
                bail!("not two ready pods in {within:?}: {pods:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The metrics of all replicas; only the one that verifies tells of tenants.
    pub async fn metrics(&self) -> Result<String> {
        let mut all = String::new();
        for pod in self.pods().await? {
            // One that just starts or ends has none.
            if let Ok((200, text)) = pod.get("/metrics").await {
                all.push_str(&text);
            }
        }
        Ok(all)
    }

    /// The end of every replica's log.
    pub async fn logs(&self) -> String {
        let selector = "app.kubernetes.io/name=tenant-kms-operator";
        let args = ["logs", "--selector", selector, "--prefix", "--tail=30"];
        match self.operators(&args).await {
            Ok(logs) => logs,
            Err(error) => format!("no logs: {error:#}"),
        }
    }
}

/// Gives the node's containerd the operator's image and the one that holds pods.
async fn images(folder: &Path, program: &Path) -> Result<u64> {
    let pause = tokio::task::spawn_blocking(binary::pause).await??;
    let operator = folder.join("operator.tar");
    let size = image::program(&operator, &format!("{IMAGE}:dev"), program, true)?;
    let holder = folder.join("pause.tar");
    image::program(&holder, "localhost/pause:1", &pause, false)?;
    for image in [operator, holder] {
        let import = Command::new("ctr")
            .args(["--address", "/run/containerd/containerd.sock"])
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(&image)
            .kill_on_drop(true)
            .output();
        let output = timeout(Duration::from_mins(1), import).await??;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ctr images import: {said}");
        }
        fs::remove_file(image)?;
    }
    Ok(size)
}
