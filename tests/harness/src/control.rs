//! A real control plane for tests: started, spoken to, and broken on purpose.
//! One that is shared must never be broken: fault tests start their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::supervisor::{Ready, Supervisor};
use crate::{Output, binary, heartbeat, node, repository, tools};

/// A part of the control plane that can be killed and started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Etcd,
    ApiServer,
    ControllerManager,
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
        }
    }
}

/// A running control plane with the product's CRD; dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    supervisor: Arc<Mutex<Supervisor>>,
    supervisor_pid: u32,
    pids: Mutex<BTreeMap<String, u32>>,
    program: PathBuf,
    ready: Ready,
}

impl ControlPlane {
    /// Starts one of its own, for a test that breaks it.
    pub async fn start() -> Result<Self> {
        let control = Self::spawn(Vec::new()).await?;
        control.install_crds().await?;
        Ok(control)
    }

    /// Starts one with a node for pods, whose cgroup is this one, and without the CRD: whoever
    /// installs the chart gets it. See [`node`].
    pub(crate) async fn start_with_node(cgroup: &str) -> Result<Self> {
        let options = ["--node", node::ADDRESS, "--node-cgroup", cgroup];
        let control = Self::spawn(options.map(String::from).to_vec()).await?;
        let wait = [
            "wait",
            "node",
            "--all",
            "--for=condition=Ready",
            "--timeout=60s",
        ];
        control.kubectl(&wait).await?.success()?;
        Ok(control)
    }

    async fn spawn(options: Vec<String>) -> Result<Self> {
        spawn_blocking(move || {
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let program = binary::binaries()?;
            // The supervisor removes the folder, also when this process is killed.
            let dir = tempfile::Builder::new()
                .prefix("controlplane-")
                .tempdir()?
                .keep();
            let (supervisor, ready) = heartbeat::with("starting a control plane", || {
                Supervisor::start(&program, &dir, &options)
            })?;
            let pids = Mutex::new(ready.pids.clone());
            let supervisor_pid = supervisor.pid();
            let supervisor = Arc::new(Mutex::new(supervisor));
            anyhow::Ok(Self {
                supervisor,
                supervisor_pid,
                pids,
                program,
                ready,
            })
        })
        .await?
    }

    /// The one that the tests of this process share. It ends with the process.
    pub async fn shared() -> Result<&'static Self> {
        Ok(Self::shared_arc().await?.as_ref())
    }

    pub(crate) async fn shared_arc() -> Result<&'static Arc<Self>> {
        static SHARED: OnceCell<Arc<ControlPlane>> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async { Ok(Arc::new(Self::start().await?)) })
            .await
    }

    async fn install_crds(&self) -> Result<()> {
        let folder = repository().join("crds");
        let found = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        let yaml = |path: &Path| path.extension().is_some_and(|e| e == "yaml");
        if !found
            .filter_map(Result::ok)
            .any(|entry| yaml(&entry.path()))
        {
            bail!("no CRD in {}", folder.display());
        }
        let folder = folder.display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &folder])
            .await?
            .success()?;
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            &folder,
        ];
        self.kubectl(&wait).await?.success()?;
        Ok(())
    }

    /// The administrator's kubeconfig (system:masters). Never the operator's.
    pub fn kubeconfig(&self) -> &Path {
        &self.ready.kubeconfig
    }

    /// The API server's address, `https://127.0.0.1:PORT`, the same for life.
    pub fn server(&self) -> &str {
        &self.ready.server
    }

    pub fn etcd_dir(&self) -> &Path {
        &self.ready.etcd_dir
    }

    /// The API server's audit log: one JSON event per line, level Metadata.
    pub fn audit_log(&self) -> &Path {
        &self.ready.audit_log
    }

    /// The folder with everything of this control plane: logs are `NAME.log`.
    pub fn dir(&self) -> &Path {
        self.ready.kubeconfig.parent().unwrap_or(Path::new("/"))
    }

    /// A new client as administrator, bound to the calling runtime.
    pub async fn admin(&self) -> Result<Client> {
        self.client_for(self.kubeconfig()).await
    }

    /// A new client with a kubeconfig's identity, bound to the calling runtime.
    pub async fn client_for(&self, kubeconfig: &Path) -> Result<Client> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let mut config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        config.proxy_url = None; // kube takes HTTPS_PROXY from the environment
        Ok(Client::try_from(config)?)
    }

    /// `kubectl ARGS` as administrator, in the repository's root folder.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.tool("kubectl", self.kubeconfig(), args, None).await
    }

    pub async fn kubectl_stdin(&self, args: &[&str], input: &str) -> Result<Output> {
        self.tool("kubectl", self.kubeconfig(), args, Some(input))
            .await
    }

    pub async fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Result<Output> {
        self.tool("kubectl", kubeconfig, args, None).await
    }

    /// `helm ARGS` as administrator, in the repository's root folder.
    pub async fn helm(&self, args: &[&str]) -> Result<Output> {
        self.tool("helm", self.kubeconfig(), args, None).await
    }

    /// A shell's script as administrator, whose `kubectl` is this one: what a person would paste.
    pub async fn shell(&self, script: &str) -> Result<Output> {
        let kubectl = format!("'{}' kubectl \"$@\"", self.program.display());
        let script = format!("kubectl() {{ {kubectl}; }}\n{script}");
        let args = ["-c", "-e", &script];
        tools::run(Path::new("sh"), self.dir(), self.kubeconfig(), &args, None).await
    }

    async fn tool(
        &self,
        name: &str,
        kubeconfig: &Path,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<Output> {
        let args: Vec<_> = std::iter::once(name).chain(args.iter().copied()).collect();
        tools::run(&self.program, self.dir(), kubeconfig, &args, input).await
    }

    /// Writes a kubeconfig with a token of a `ServiceAccount`, good for 24 hours,
    /// into `dir` and returns its path.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
        dir: &Path,
    ) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, namespace);
        let spec = TokenRequestSpec {
            expiration_seconds: Some(24 * 3600),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec,
            ..TokenRequest::default()
        };
        let granted = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("a token of ServiceAccount {namespace}/{name}"))?;
        let token = granted
            .status
            .context("the token request was not answered")?
            .token;
        let ca = fs::read_to_string(self.dir().join("ca.crt"))?;
        let ca = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ca);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{ "name": "controlplane", "cluster": {
                "server": self.server(), "certificate-authority-data": ca,
            }}],
            "users": [{ "name": name, "user": { "token": token } }],
            "contexts": [{ "name": name, "context": {
                "cluster": "controlplane", "user": name, "namespace": namespace,
            }}],
        });
        let path = dir.join(format!("{namespace}-{name}.kubeconfig"));
        tools::replace_file(&path, config.to_string().as_bytes(), dir)?;
        Ok(path)
    }

    /// The key set that `ServiceAccount` tokens are verified with.
    pub async fn jwks(&self) -> Result<Value> {
        let text = self
            .kubectl(&["get", "--raw", "/openid/v1/jwks"])
            .await?
            .success()?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Kills a component, as a crash would, and waits until it is gone.
    pub async fn stop(&self, component: Component) -> Result<()> {
        self.command("stop", component).await
    }

    /// Starts a component again with its data and address, and waits until it
    /// is healthy; without waiting when what it needs (etcd, the API server)
    /// is down. Starting etcd also waits for a running API server.
    pub async fn start_component(&self, component: Component) -> Result<()> {
        self.command("start", component).await
    }

    async fn command(&self, verb: &'static str, component: Component) -> Result<()> {
        let supervisor = Arc::clone(&self.supervisor);
        let name = component.name();
        let answer = spawn_blocking(move || {
            let mut supervisor = supervisor.lock().unwrap_or_else(PoisonError::into_inner);
            supervisor.command(&format!("{verb} {name}"))
        })
        .await??;
        let mut pids = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        pids.insert(name.to_owned(), answer.pid);
        Ok(())
    }

    /// The component's process id; 0 while it is stopped.
    pub fn pid(&self, component: Component) -> u32 {
        let pids = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        pids.get(component.name()).copied().unwrap_or_default()
    }

    /// The supervisor's process id: killing it kills the whole control plane.
    pub fn supervisor_pid(&self) -> u32 {
        self.supervisor_pid
    }
}
