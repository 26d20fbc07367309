//! The ways of one replica to the clouds and to the API server: relays of its own, which tell from
//! outside what it does, and can be cut.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::{Env, OperatorOptions, chart};

/// One connection through a relay.
#[derive(Clone, Debug)]
pub struct Connection {
    pub begun: Instant,
    /// The host that a proxy is asked for.
    pub host: Option<String>,
    /// When either side ended it; a cut is no end.
    pub ended: Option<Instant>,
}

/// A loopback relay that notes every connection, and can be cut.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
    /// How many of the connections, from the first on, are cut.
    cut: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tap {
    /// In front of what listens at `upstream` (a URL without a path).
    pub async fn start(upstream: &str) -> Result<Self> {
        let upstream = upstream
            .rsplit_once("//")
            .map_or(upstream, |(_, address)| address);
        let upstream: SocketAddr = upstream.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let connections = Arc::default();
        let (cut, cut_off) = watch::channel(0);
        let noted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = note(&noted, |all| {
                    all.push(Connection {
                        begun: Instant::now(),
                        host: None,
                        ended: None,
                    });
                    all.len() - 1
                });
                tokio::spawn(relay(
                    client,
                    upstream,
                    cut_off.clone(),
                    Arc::clone(&noted),
                    number,
                ));
            }
        });
        Ok(Self {
            address,
            connections,
            cut,
            task,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a proxy is named.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When each connection began.
    pub fn connections(&self) -> Vec<Instant> {
        self.all().iter().map(|one| one.begun).collect()
    }

    pub fn all(&self) -> Vec<Connection> {
        note(&self.connections, |all| all.clone())
    }

    /// From now on nothing passes, and nobody is told.
    pub fn cut(&self) {
        self.cut.send_replace(usize::MAX);
    }

    /// The same at a moment when nothing is under way, so that what has not ended was not answered.
    pub async fn cut_at_rest(&self) {
        let cut = || {
            note(&self.connections, |all| {
                let rests = all.iter().all(|one| one.ended.is_some());
                if rests {
                    self.cut();
                }
                rests
            })
        };
        while !cut() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Nothing passes over the connections of now, and nobody is told; new ones are relayed.
    pub fn cut_open(&self) {
        self.cut.send_replace(self.all().len());
    }
}

fn note<T>(all: &Mutex<Vec<Connection>>, change: impl FnOnce(&mut Vec<Connection>) -> T) -> T {
    change(&mut all.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn relay(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut cut: watch::Receiver<usize>,
    noted: Arc<Mutex<Vec<Connection>>>,
    number: usize,
) {
    let relayed = async {
        let mut head = [0; 256];
        if let Ok(length) = client.peek(&mut head).await {
            let host = asked_for(&head[..length]);
            note(&noted, |all| all[number].host = host);
        }
        if let Ok(mut server) = TcpStream::connect(upstream).await {
            // An end of either side is the end of both.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
        note(&noted, |all| all[number].ended = Some(Instant::now()));
    };
    let severed = async {
        if cut.wait_for(|cut| number < *cut).await.is_err() {
            std::future::pending::<()>().await; // the tap is gone, its connections go on to their end
        }
    };
    tokio::select! {
        biased;
        () = severed => {}
        () = relayed => return,
    }
    // Cut off means silence: nobody is told that the other side is gone.
    std::future::pending::<()>().await;
}

/// Of `CONNECT HOST:443 HTTP/1.1`.
fn asked_for(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let (host, _) = head.strip_prefix("CONNECT ")?.split_once(':')?;
    Some(host.to_owned())
}

/// A replica's own ways, and the token it shows to the API server.
#[derive(Debug)]
pub struct Ways {
    pub cloud: Tap,
    pub api: Tap,
    pub kubeconfig: PathBuf,
}

impl Ways {
    /// For the replica `name` of the world's operator.
    pub async fn new(env: &Env, name: &str) -> Result<Self> {
        let dir = env.dir.path().join(name);
        std::fs::create_dir(&dir)?;
        let (namespace, account) = (&env.operator_namespace, chart::SERVICE_ACCOUNT);
        let control = &env.control;
        let kubeconfig = control
            .service_account_kubeconfig(namespace, account, &dir)
            .await?;
        let api = Tap::start(control.server()).await?;
        let text = std::fs::read_to_string(&kubeconfig)?;
        let relayed = text.replace(control.server(), &format!("https://{}", api.address()));
        std::fs::write(&kubeconfig, relayed)?;
        Ok(Self {
            cloud: Tap::start(env.cloud.proxy_url()).await?,
            api,
            kubeconfig,
        })
    }

    /// An operator that has no others.
    pub fn alone(&self, options: OperatorOptions) -> OperatorOptions {
        options
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HTTPS_PROXY", self.cloud.url())
            .env("HTTP_PROXY", self.cloud.url())
    }

    /// From now on nothing goes to a cloud or to the API server, and nothing comes.
    pub fn cut(&self) {
        self.cloud.cut();
        self.api.cut();
    }

    /// When no call to a cloud is under way.
    pub async fn cut_at_rest(&self) {
        self.cloud.cut_at_rest().await;
        self.api.cut();
    }
}
