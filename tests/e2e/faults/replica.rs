//! One of several replicas of the operator, told apart from outside: its connections to the cloud
//! run through a tap of its own, and its token names it in the API server's audit log.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Env, Operator, OperatorOptions};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::town::value;

/// A loopback relay that notes every connection, and can be cut.
pub struct Tap {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Instant>>>,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tap {
    /// In front of what listens at `upstream` (a URL without a path).
    async fn start(upstream: &str) -> Result<Self> {
        let upstream = upstream
            .rsplit_once("//")
            .map_or(upstream, |(_, address)| address);
        let upstream: SocketAddr = upstream.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let connections: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let noted = Arc::clone(&connections);
        let (cut, is_cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Instant::now());
                let mut is_cut = is_cut.clone();
                tokio::spawn(async move {
                    let relayed = async {
                        if *is_cut.borrow() {
                            return;
                        }
                        if let Ok(mut server) = TcpStream::connect(upstream).await {
                            // An end of either side is the end of both.
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        }
                    };
                    let mut end = is_cut.clone();
                    tokio::select! {
                        () = relayed => {}
                        _ = end.wait_for(|cut| *cut) => {}
                    }
                    // Cut off means silence: nobody is told that the other side is gone.
                    if *is_cut.borrow_and_update() {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Ok(Self {
            address,
            connections,
            cut,
            task,
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> Vec<Instant> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A write as the audit log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub at: jiff::Timestamp,
    pub verb: String,
    pub resource: String,
    pub name: String,
}

/// When something changed that was looked at now and then.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub after: Instant,
    pub by: Instant,
}

pub struct Replica {
    pub operator: Operator,
    pub tap: Tap,
    /// In front of the API server.
    api: Tap,
    /// The id of its token, as admission and the audit log have it.
    pub credential: String,
}

impl Replica {
    /// One more operator of the same installation, with a token of its own.
    pub async fn start(env: &Env, name: &str) -> Result<Self> {
        Self::with(env, name, env.operator_options()).await
    }

    /// The same, serving the agent API too.
    pub async fn serving(env: &Env, name: &str) -> Result<Self> {
        Self::with(env, name, env.agent_options()).await
    }

    async fn with(env: &Env, name: &str, options: OperatorOptions) -> Result<Self> {
        let tap = Tap::start(env.cloud.proxy_url()).await?;
        let dir = env.dir.path().join(name);
        fs::create_dir(&dir)?;
        let user = env.operator_user();
        let account = user.rsplit(':').next().unwrap_or_default();
        let kubeconfig = env
            .control
            .service_account_kubeconfig(&env.operator_namespace, account, &dir)
            .await?;
        let who = env
            .control
            .kubectl_as(&kubeconfig, &["auth", "whoami", "-o", "json"])
            .await?;
        let who: Value = serde_json::from_str(&who.success()?)?;
        let credential = who
            .pointer("/status/userInfo/extra")
            .and_then(|extra| extra["authentication.kubernetes.io/credential-id"][0].as_str())
            .context("the token has no id")?
            .to_owned();
        let api = Tap::start(env.control.server()).await?;
        let relayed = fs::read_to_string(&kubeconfig)?
            .replace(env.control.server(), &format!("https://{}", api.address));
        fs::write(&kubeconfig, relayed)?;
        let options = options
            .env("KUBECONFIG", kubeconfig)
            .env("HTTPS_PROXY", tap.url())
            .env("HTTP_PROXY", tap.url());
        let operator = env.spawn(options).await?;
        Ok(Self {
            operator,
            tap,
            api,
            credential,
        })
    }

    /// From now on nothing goes to a cloud or to the API server, and nothing comes.
    pub fn cut(&self) {
        for tap in [&self.tap, &self.api] {
            tap.cut.send_replace(true);
        }
    }

    /// Every write of this replica that the API server has taken so far, Leases included.
    pub fn writes(&self, env: &Env) -> Result<HashSet<Write>> {
        let mut writes = HashSet::new();
        for event in env.operator_writes()? {
            let id = &event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
            let taken = event["responseStatus"]["code"]
                .as_u64()
                .is_some_and(|code| code < 300);
            let what = &event["objectRef"];
            // The question who it is was asked here, not by the operator.
            let ours = what["resource"] == "selfsubjectreviews";
            if id == self.credential.as_str() && taken && !ours {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                writes.insert(Write {
                    at: event["stageTimestamp"]
                        .as_str()
                        .unwrap_or_default()
                        .parse()?,
                    verb: text(&event["verb"]),
                    resource: text(&what["resource"]),
                    name: text(&what["name"]),
                });
            }
        }
        Ok(writes)
    }

    pub async fn holds(&self) -> Result<bool> {
        let metrics = self.operator.metrics().await?;
        Ok(value(&metrics, "tenantkms_holder", "") == Some(1.0))
    }

    /// Waits until this replica does (not) hold the shard, by its own account.
    pub async fn until_holds(&self, wanted: bool, within: Duration) -> Result<Change> {
        let deadline = Instant::now() + within;
        let mut after = Instant::now();
        loop {
            let asked = Instant::now();
            if self.holds().await? == wanted {
                let by = Instant::now();
                return Ok(Change { after, by });
            }
            after = asked;
            ensure!(
                asked < deadline,
                "holder is not {wanted} in {within:?}:\n{}",
                self.operator.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
