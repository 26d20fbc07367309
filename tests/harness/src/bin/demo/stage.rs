//! What the story plays on: the control plane, the loopback clouds, and the operator under the
//! chart's own `ServiceAccount`. Dropping it ends all of it, the workload and the operator first.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::node::{self, Cluster};
use harness::{Cloud, ControlPlane, Customer, Env, Names, Operator, Orders};
use serde_json::Value;

use crate::cast::Cast;
use crate::steps::{STEPS, Step};
use crate::timeline::{Timeline, more};

/// A Lease that nobody holds.
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Stage<'a> {
    pub timeline: &'a Timeline,
    /// The workload, once it runs.
    pub orders: OnceLock<Orders>,
    pub scene: Scene,
    pub cast: Cast,
    /// How many of the steps were told.
    told: AtomicUsize,
}

/// Where the operator runs.
#[derive(Debug)]
pub enum Scene {
    /// Two processes beside the control plane.
    Process {
        operator: Operator,
        /// Serves workloads too, and verifies for them only.
        follower: Operator,
        env: Env,
    },
    /// Two pods that helm installed.
    Cluster(Cluster),
}

impl<'a> Stage<'a> {
    pub async fn set(timeline: &'a Timeline, cloud: Cloud) -> Result<Self> {
        timeline.say("a control plane of its own: etcd, kube-apiserver, kube-controller-manager");
        let control = Arc::new(ControlPlane::start().await?);
        timeline.say(format_args!(
            "the API server answers on {}",
            control.server()
        ));
        timeline.say("the chart's ServiceAccount, RBAC and policies; two customers' keys");
        let env = Env::named(control, Names::documented()).await?;
        let cast = Cast::onboard(&env, cloud).await?;
        let operator = env.spawn(env.agent_options()).await?;
        introduce(timeline, &env, &operator).await?;
        operator.until_holder(SOON).await?;
        let follower = env.spawn(env.agent_options()).await?;
        timeline.say(format_args!(
            "and a second replica, process {}, which would take over",
            follower.pid()
        ));
        let scene = Scene::Process {
            operator,
            follower,
            env,
        };
        Ok(Self {
            timeline,
            orders: OnceLock::new(),
            scene,
            cast,
            told: AtomicUsize::new(0),
        })
    }

    /// The same on a node of its own, whose namespaces this process is already in.
    pub async fn set_cluster(timeline: &'a Timeline) -> Result<Self> {
        timeline.say("a cluster of one node in namespaces of its own: the control plane, containerd, kubelet, kube-scheduler, kube-proxy");
        let cgroup = node::enter()?;
        let program = std::env::var_os("TENANT_KMS_STATIC_BIN").map(PathBuf::from);
        let program = program.context("no static program: use `cargo xtask demo --cluster`")?;
        let start = Cluster::start(&cgroup, &program);
        let cluster = timeline.patiently("the node starts", start).await?;
        let cast = Cast::onboard(&cluster.env, Cloud::Azure).await?;
        timeline.say("helm installs the chart; two customers' keys");
        let took = timeline
            .patiently("helm waits", cluster.install(&[]))
            .await?;
        let stage = Self {
            timeline,
            orders: OnceLock::new(),
            scene: Scene::Cluster(cluster),
            cast,
            told: AtomicUsize::new(0),
        };
        stage
            .kubectl(&["get", "pods", "-n", "tenant-kms-system", "-o", "wide"])
            .await?;
        timeline.say(format_args!(
            "both replicas are ready after {:.1} s",
            took.as_secs_f64()
        ));
        Ok(stage)
    }

    pub fn env(&self) -> &Env {
        match &self.scene {
            Scene::Process { env, .. } => env,
            Scene::Cluster(cluster) => &cluster.env,
        }
    }

    /// The next step: the same one in every cloud.
    pub fn step(&self, step: Step) -> Result<()> {
        let told = self.told.fetch_add(1, Ordering::Relaxed);
        ensure!(STEPS.get(told) == Some(&step), "{step:?} as step {told}");
        let customer = self.customer();
        self.timeline
            .step(step.title(customer.cloud, &customer.name));
        Ok(())
    }

    /// The one that the story is about.
    pub fn customer(&self) -> &Customer {
        &self.cast.customer
    }

    /// The operator's metrics.
    pub async fn metrics(&self) -> Result<String> {
        match &self.scene {
            Scene::Process { operator, .. } => operator.metrics().await,
            Scene::Cluster(cluster) => cluster.metrics().await,
        }
    }

    /// Runs `kubectl` as a person would and shows what it says; an error when it fails.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let shown: Vec<_> = args.iter().map(|arg| quoted(arg)).collect();
        more(format_args!("$ kubectl {}", shown.join(" ")));
        let said = self.env().control.kubectl(args).await?;
        let text = said.success()?;
        more(&text);
        Ok(text)
    }

    /// Asks by annotation: `verify`, `unseal` or `rotate`.
    pub async fn ask(&self, what: &str) -> Result<()> {
        let value = self.timeline.seconds(); // a new one each time
        let request = format!("tenantkms.dev/{what}-requested-at={value}");
        let args = [
            "annotate",
            "tkms",
            &self.customer().name,
            "-n",
            "tenants",
            "--overwrite",
            &request,
        ];
        self.kubectl(&args).await.map(|_| ())
    }

    /// Watches the tenant until a condition holds, for its present generation.
    pub async fn tenant_is(
        &self,
        condition: &str,
        status: &str,
        reason: Option<&str>,
        within: Duration,
    ) -> Result<Value> {
        let what = format!("waiting for {condition}={status}");
        let wait =
            self.env()
                .wait_condition(&self.customer().name, condition, status, reason, within);
        self.timeline.patiently(&what, wait).await
    }

    /// The end of the operator's log, for a failure.
    pub async fn operator_log(&self) -> String {
        let log = match &self.scene {
            Scene::Process { operator, .. } => operator.log(),
            Scene::Cluster(cluster) => cluster.logs().await,
        };
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        format!("the operator's log ends:\n{}\n", tail.join("\n"))
    }
}

fn quoted(arg: &str) -> String {
    if arg.contains([' ', '"', '{', '*', '\'']) {
        format!("'{arg}'")
    } else {
        arg.to_owned()
    }
}

/// Says who the operator is for the API server, and makes sure that it is nobody greater.
async fn introduce(timeline: &Timeline, env: &Env, operator: &Operator) -> Result<()> {
    let who = ["auth", "whoami", "-o", "json"];
    let said = env
        .control
        .kubectl_as(&env.operator_kubeconfig, &who)
        .await?;
    let said: Value = serde_json::from_str(&said.success()?)?;
    let user = &said["status"]["userInfo"];
    let name = user["username"].as_str().unwrap_or_default();
    if name != env.operator_user() || user["groups"].to_string().contains("system:masters") {
        bail!("the operator is somebody else: {user}");
    }
    let pid = operator.pid();
    timeline.say(format_args!("the operator runs: process {pid}, {name}"));
    Ok(())
}
