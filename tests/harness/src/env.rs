//! One test's world: its own namespaces, clouds, operator rights, configuration and folder on a control
//! plane that it may share with others. It must never look into another test's.

use std::collections::{BTreeMap, BTreeSet};
use std::env::var_os;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use fakecloud::FakeCloud;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use tempfile::TempDir;

use crate::chart::{self, Installation};
use crate::{
    ControlPlane, Operator, OperatorOptions, Output, binary, object, operator, search, tail, tools,
};

/// Everything an operator needs to run, and nothing running yet.
#[derive(Debug)]
pub struct Env {
    pub control: Arc<ControlPlane>,
    pub cloud: FakeCloud,
    /// Where the `TenantKms` objects are.
    pub namespace: String,
    pub records_namespace: String,
    pub operator_namespace: String,
    pub installation: String,
    pub dir: TempDir,
    /// The token of the chart's `ServiceAccount`.
    pub operator_kubeconfig: PathBuf,
    pub config: PathBuf,
    pub secret_dir: PathBuf,
    /// Where the keys of `provider: local` are.
    pub kek_dir: PathBuf,
    /// Whether the operator serves every namespace.
    everywhere: bool,
    operators: AtomicU32,
    logs: Mutex<Vec<PathBuf>>,
    secrets: Mutex<BTreeSet<String>>,
}

/// What an installation and its namespaces are called.
#[derive(Clone, Debug)]
pub struct Names {
    /// Where the `TenantKms` objects are.
    pub namespace: String,
    pub records_namespace: String,
    pub operator_namespace: String,
    pub installation: String,
}

impl Names {
    /// Those of the documentation.
    pub fn documented() -> Self {
        Self {
            namespace: "tenants".to_owned(),
            records_namespace: "tenant-kms-records".to_owned(),
            operator_namespace: "tenant-kms-system".to_owned(),
            installation: "default".to_owned(),
        }
    }

    /// Such as nobody else has.
    fn random(name: &str) -> Result<Self> {
        let mut random = [0; 3];
        rand::fill(&mut random)?;
        let namespace = format!("t-{name}-{}", binary::hex(&random));
        Ok(Self {
            records_namespace: format!("{namespace}-records"),
            operator_namespace: format!("{namespace}-op"),
            installation: namespace.clone(),
            namespace,
        })
    }
}

impl Env {
    /// On the control plane that the tests of this process share.
    pub async fn new(name: &str) -> Result<Self> {
        Self::with_control(Arc::clone(ControlPlane::shared_arc().await?), name).await
    }

    /// On a control plane of the test's own, which it may break.
    pub async fn with_control(control: Arc<ControlPlane>, name: &str) -> Result<Self> {
        Self::named(control, Names::random(name)?).await
    }

    /// As the chart installs by default: for every namespace, so on a control plane of its own.
    pub async fn everywhere(name: &str) -> Result<Self> {
        let control = Arc::new(ControlPlane::start().await?);
        Self::make(control, Names::random(name)?, true).await
    }

    /// With names that nobody else on this control plane may have.
    pub async fn named(control: Arc<ControlPlane>, names: Names) -> Result<Self> {
        Self::make(control, names, false).await
    }

    async fn make(control: Arc<ControlPlane>, names: Names, everywhere: bool) -> Result<Self> {
        let mut env = Self::without_rights(control, names, everywhere).await?;
        chart::apply(&env.control, &env.rights(), &[]).await?;
        let folder = env.dir.path();
        env.operator_kubeconfig = env
            .control
            .service_account_kubeconfig(&env.operator_namespace, chart::SERVICE_ACCOUNT, folder)
            .await?;
        Ok(env)
    }

    /// The namespaces, clouds and folder only: for an operator that somebody else installs.
    pub(crate) async fn without_rights(
        control: Arc<ControlPlane>,
        names: Names,
        everywhere: bool,
    ) -> Result<Self> {
        let Names {
            namespace,
            records_namespace,
            operator_namespace,
            installation,
        } = names;
        let namespaces: Api<Namespace> = Api::all(control.admin().await?);
        for name in [&namespace, &operator_namespace] {
            let metadata = ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            };
            let new = Namespace {
                metadata,
                ..Namespace::default()
            };
            namespaces.create(&PostParams::default(), &new).await?;
        }
        let dir = tempfile::Builder::new()
            .prefix(&format!("{namespace}-"))
            .tempdir()?;
        let secret_dir = dir.path().join("secrets");
        let kek_dir = dir.path().join("keks");
        for folder in [&secret_dir, &kek_dir] {
            fs::create_dir(folder)?;
        }
        let env = Self {
            cloud: FakeCloud::start().await?,
            installation,
            config: dir.path().join("config.yaml"),
            everywhere,
            operators: AtomicU32::new(0),
            logs: Mutex::default(),
            secrets: Mutex::default(),
            control,
            namespace,
            records_namespace,
            operator_namespace,
            operator_kubeconfig: PathBuf::new(),
            secret_dir,
            kek_dir,
            dir,
        };
        env.write_config("apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n");
        Ok(env)
    }

    /// The chart's rights and policies as they are applied, rendered with more
    /// values such as `tenantCredentials=[…]` (JSON).
    pub async fn chart(&self, more: &[&str]) -> Result<Vec<Value>> {
        chart::render(&self.control, &self.rights(), more).await
    }

    /// Applies them again with more values, as an upgrade of the release would.
    pub async fn upgrade(&self, more: &[&str]) -> Result<()> {
        chart::apply(&self.control, &self.rights(), more).await
    }

    fn rights(&self) -> Installation<'_> {
        Installation {
            name: &self.installation,
            namespace: &self.operator_namespace,
            records_namespace: &self.records_namespace,
            watch_namespace: (!self.everywhere).then_some(&*self.namespace),
        }
    }

    /// A client as administrator.
    pub async fn client(&self) -> Result<Client> {
        self.control.admin().await
    }

    /// Puts a client secret where the operator looks for that variable.
    pub fn set_secret(&self, variable: &str, value: &str) {
        self.guard([value.to_owned()]);
        let path = self.secret_dir.join(variable);
        tools::replace_file(&path, value.as_bytes(), self.dir.path())
            .expect("write a client secret");
    }

    /// No operator may ever log one of these.
    pub(crate) fn guard(&self, values: impl IntoIterator<Item = String>) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.extend(values);
    }

    /// Replaces the operator's configuration file (at first it allows nothing).
    pub fn write_config(&self, yaml: &str) {
        tools::replace_file(&self.config, yaml.as_bytes(), self.dir.path())
            .expect("write the configuration");
    }

    /// An operator with the usual options, serving metrics.
    pub async fn operator(&self) -> Result<Operator> {
        self.spawn(self.operator_options()).await
    }

    /// The usual options, to be changed before [`spawn`](Self::spawn).
    pub fn operator_options(&self) -> OperatorOptions {
        let number = self.operators.fetch_add(1, Ordering::Relaxed) + 1;
        let config = self.config.as_os_str();
        let secrets = self.secret_dir.as_os_str();
        let keks = self.kek_dir.as_os_str();
        let mut args: Vec<&OsStr> = vec![
            "operator".as_ref(),
            "--config".as_ref(),
            config,
            "--records-namespace".as_ref(),
            self.records_namespace.as_ref(),
        ];
        if !self.everywhere {
            args.push("--watch-namespaces".as_ref());
            args.push(self.namespace.as_ref());
        }
        let rest: [&OsStr; 10] = [
            "--installation".as_ref(),
            self.installation.as_ref(),
            "--secret-env-dir".as_ref(),
            secrets,
            "--local-kek-dir".as_ref(),
            keks,
            "--metrics-listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--log-format".as_ref(),
            "json".as_ref(),
        ];
        args.extend(rest);
        let mut environment: BTreeMap<OsString, OsString> = BTreeMap::new();
        environment.insert("PATH".into(), var_os("PATH").unwrap_or_default());
        environment.insert("KUBECONFIG".into(), self.operator_kubeconfig.clone().into());
        for (name, value) in self.cloud.env() {
            environment.insert(name.into(), value.into());
        }
        OperatorOptions {
            program: operator::program(),
            args: args.into_iter().map(OsString::from).collect(),
            environment,
            log: self.dir.path().join(format!("operator-{number}.log")),
            ready_within: Some(Duration::from_secs(30)),
            reserved: None,
        }
    }

    pub async fn spawn(&self, options: OperatorOptions) -> Result<Operator> {
        self.logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(options.log.clone());
        Operator::start(options).await
    }

    /// The user name the operator has for the API server.
    pub fn operator_user(&self) -> String {
        format!(
            "system:serviceaccount:{}:{}",
            self.operator_namespace,
            chart::SERVICE_ACCOUNT
        )
    }

    /// Every write of this operator that the API server has answered, as audit events, Leases included.
    pub fn operator_writes(&self) -> Result<Vec<Value>> {
        let user = self.operator_user();
        let mut writes = Vec::new();
        for line in fs::read_to_string(self.control.audit_log())?
            .lines()
            .filter(|line| line.contains(&user))
        {
            // The last line may still be in the writing.
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let read = matches!(event["verb"].as_str(), Some("get" | "list" | "watch"));
            if event["user"]["username"] == user.as_str() && !read {
                writes.push(event);
            }
        }
        Ok(writes)
    }

    /// `kubectl apply --server-side` of a text in the tenants' namespace.
    pub async fn apply(&self, yaml: &str) -> Result<Output> {
        let args = [
            "apply",
            "--server-side",
            "--namespace",
            &self.namespace,
            "-f",
            "-",
        ];
        self.control.kubectl_stdin(&args, yaml).await
    }

    /// `kubectl ARGS` in the tenants' namespace.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        let args: Vec<_> = ["--namespace", &self.namespace]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        self.control.kubectl(&args).await
    }

    /// A `TenantKms` as it is now.
    pub async fn tenant(&self, name: &str) -> Result<Value> {
        let tenants = object::tenants(self.client().await?, &self.namespace);
        Ok(serde_json::to_value(tenants.get(name).await?)?)
    }

    /// Watches a `TenantKms` until `predicate` holds; sees every state that the
    /// API server reports. The error has the last one and the operators' logs.
    pub async fn wait(
        &self,
        tenant: &str,
        what: &str,
        within: Duration,
        predicate: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let tenants = object::tenants(self.client().await?, &self.namespace);
        let waited = object::wait(tenants, tenant, within, predicate).await;
        waited.with_context(|| format!("waiting for {tenant}: {what}{}", self.log_tails()))
    }

    /// Waits for a condition that was decided for the present generation.
    pub async fn wait_condition(
        &self,
        tenant: &str,
        type_: &str,
        status: &str,
        reason: Option<&str>,
        within: Duration,
    ) -> Result<Value> {
        let what = format!("{type_}={status} {}", reason.unwrap_or_default());
        self.wait(tenant, &what, within, |object| {
            object::has_condition(object, type_, status, reason)
        })
        .await
    }

    fn log_tails(&self) -> String {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let tails = logs
            .iter()
            .map(|log| format!("\n{} ends:\n{}", log.display(), tail(log, 40)));
        tails.collect()
    }

    /// The operators' logs that hold a secret, a token or an assertion of this world.
    fn leaks(&self) -> Vec<String> {
        let mut values = self.cloud.issued();
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        values.extend(secrets.iter().cloned());
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |log: &PathBuf| {
            let text = fs::read(log).ok()?; // none was written
            Some(search::place(&log.display().to_string(), text))
        };
        let places: Vec<_> = logs.iter().filter_map(read).collect();
        search::found(&places, &search::needles(&values))
    }
}

/// Whatever a test was about, no operator may have logged a secret in it.
impl Drop for Env {
    fn drop(&mut self) {
        let leaks = self.leaks();
        if thread::panicking() {
            // A second panic would hide the first.
            for leak in leaks {
                eprintln!("leaked: {leak}");
            }
        } else {
            assert!(leaks.is_empty(), "a secret was logged: {leaks:#?}");
        }
    }
}
