//! `tenant-kms operator`: watches `TenantKms` objects until it is told to stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::mpsc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::clock::SystemClock;
use crate::controller::context::Context;
use crate::controller::events::Events;
use crate::controller::lease::{Elector, Ownership};
use crate::controller::namespaces::Namespaces;
use crate::controller::writes::Gate;
use crate::controller::{self, Syncing};
use crate::credentials::{AzureIdentity, Cluster, SecretSource};
use crate::memory;
use crate::policy;
use crate::provider::Providers;
use crate::random;
use crate::record::store::{KubeStore, RecordStore};
use crate::server::agent::start as agent;
use crate::server::metrics::Metrics;
use crate::server::{health, tls};
use crate::session::{Held, held};

/// How many attempts on clouds may be under way at once.
const ATTEMPTS: usize = 1024;
/// How long a stop may take before the process ends all the same.
const STOP: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration file: which tenants may use which credentials. Without it nothing of
    /// the platform's may be used.
    #[arg(long, value_name = "FILE", env = "TENANT_KMS_CONFIG")]
    config: Option<PathBuf>,
    /// Where the records are kept.
    #[arg(
        long,
        value_name = "NS",
        env = "TENANT_KMS_RECORDS_NAMESPACE",
        default_value = "tenant-kms-records"
    )]
    records_namespace: String,
    /// The namespaces to watch, separated by commas; all when absent.
    #[arg(
        long,
        value_name = "NS,…",
        env = "TENANT_KMS_WATCH_NAMESPACES",
        value_delimiter = ','
    )]
    watch_namespaces: Vec<String>,
    /// The name of this installation; two installations never share an object.
    #[arg(
        long,
        value_name = "NAME",
        env = "TENANT_KMS_INSTALLATION",
        default_value = "default"
    )]
    installation: String,
    /// A folder with one file per client secret, named as the variable.
    #[arg(long, value_name = "DIR", env = "TENANT_KMS_SECRET_ENV_DIR")]
    secret_env_dir: Option<PathBuf>,
    /// A folder with the keys of the platform itself: NAME.1, NAME.2, … are the versions of
    /// `local://NAME`.
    #[arg(long, value_name = "DIR", env = "TENANT_KMS_LOCAL_KEK_DIR")]
    local_kek_dir: Option<PathBuf>,
    /// Where the agent API is served, over TLS. Without it no session is given here.
    #[arg(long, value_name = "ADDR", env = "TENANT_KMS_LISTEN")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    tls: tls::Options,
    /// Where health and metrics are served.
    #[arg(
        long,
        value_name = "ADDR",
        env = "TENANT_KMS_METRICS_LISTEN",
        default_value = "0.0.0.0:8080"
    )]
    metrics_listen: SocketAddr,
    #[arg(
        long,
        value_enum,
        env = "TENANT_KMS_LOG_FORMAT",
        default_value = "json"
    )]
    log_format: super::logs::Format,
}

/// Why the operator did not start or did not go on.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("configuration file: {0}")]
    Policy(#[from] policy::Invalid),
    #[error(transparent)]
    Client(#[from] controller::ClientError),
    #[error(transparent)]
    Transport(#[from] crate::provider::connect::NoTransport),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("metrics address: {0}")]
    Listen(std::io::Error),
    #[error("agent API: {0}")]
    Agent(#[from] agent::StartError),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Random(#[from] random::Unavailable),
    #[error("--installation takes 1 to 32 of a-z, 0-9 and '-'")]
    Installation,
    #[error("a part of the operator ended by itself")]
    Ended,
}

pub async fn run(args: Args) -> ExitCode {
    super::logs::start(args.log_format);
    match operate(args).await {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(fatal) => {
            error!(error = %fatal, "the operator cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn check_installation(name: &str) -> Result<(), Fatal> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(Fatal::Installation)
    }
}

async fn operate(args: Args) -> Result<(), Fatal> {
    check_installation(&args.installation)?;
    let protected = memory::protect();
    let watched = policy::watch(args.config).await?;
    let identity = AzureIdentity::from_environment(watched.policy.borrow().own_azure());
    let secrets = SecretSource::new(args.secret_env_dir);
    let client = controller::client().await?;
    let providers = Providers::new(watched.policy.clone(), secrets, identity)?;
    let providers = providers
        .with_cluster(Cluster::new(client.clone()))
        .with_local_keks(args.local_kek_dir);
    let providers = Arc::new(providers);
    let metrics = Arc::new(Metrics::new()?);
    let (stop, ending) = watch::channel(false);
    let (own, ownership) = watch::channel(Ownership::Follower);
    let (hold, shard_held) = watch::channel(false);
    let replica = replica_name()?;
    info!(
        version = env!("CARGO_PKG_VERSION"), %replica, installation = %args.installation,
        azure_identity = identity.name(), no_dumps = protected.no_dumps,
        memory_locked = protected.locked, "starting"
    );
    let gate = Arc::new(Gate::default());
    let events = Arc::new(Events::new(client.clone(), &replica, metrics.clone()));
    let records: Arc<dyn RecordStore> =
        Arc::new(KubeStore::new(client.clone(), &args.records_namespace));
    let lease = format!("tenant-kms-{}-shard-0", args.installation);
    let elector = Elector::new(
        client.clone(),
        &args.records_namespace,
        lease,
        replica,
        SystemClock,
    );
    let keys = Arc::new(Held::default());
    let namespaces: Vec<Option<String>> = match args.watch_namespaces.as_slice() {
        [] => vec![None],
        listed => listed.iter().cloned().map(Some).collect(),
    };
    let syncing = Syncing::new(namespaces.len());
    let ctx = Context {
        namespaces: Arc::new(Namespaces::new(client.clone())),
        client,
        clock: Arc::new(SystemClock),
        jitter: random::fraction,
        providers,
        policy: watched.policy,
        records,
        records_namespace: args.records_namespace,
        installation: args.installation,
        claims: Arc::default(),
        claims_listed: Arc::default(),
        ownership,
        held: shard_held,
        gate,
        events: events.clone(),
        metrics: metrics.clone(),
        keys: keys.clone(),
        roster: Arc::default(),
        guests: Arc::default(),
        syncing: syncing.clone(),
        attempts: Arc::new(Semaphore::new(ATTEMPTS)),
        wake: mpsc::channel(0).0, // each watch sets its own
        tenants: Arc::default(),
        malformed: Arc::new(Mutex::new(HashMap::new())),
    };
    let mut background = JoinSet::new();
    background.spawn(async move { events.run().await });
    let (guests, told) = (ctx.guests.clone(), metrics.clone());
    background.spawn(held::sweep(keys, Arc::new(SystemClock), move |held| {
        told.set_keys(held, guests.len());
    }));
    background.spawn(report_faults(watched.fault, metrics.clone()));
    // What must end in order: the watches first, the lease when nothing is written any more.
    let (release, released) = watch::channel(false);
    let mut lease_task = tokio::spawn(elector.run(own, released));
    let mut watching = JoinSet::new();
    watching.spawn(follow_ownership(ctx.clone(), hold, ending.clone()));
    for namespace in namespaces {
        watching.spawn(controller::run(ctx.clone(), namespace, ending.clone()));
    }
    let agent = match args.listen {
        Some(address) => Some(agent::start(address, &args.tls, &ctx, ending.clone()).await?),
        None => None,
    };
    let ready = agent.as_ref().map(agent::Listening::readiness);
    let mut serving = tokio::spawn(serve(agent, ending.clone()));
    let mut server = tokio::spawn(health::run(
        args.metrics_listen,
        metrics,
        syncing,
        ready,
        ending,
    ));

    let ended = tokio::select! {
        signal = terminated() => signal,
        result = &mut server => match result {
            Ok(Err(error)) => Err(Fatal::Listen(error)),
            _ => Err(Fatal::Ended),
        },
        _ = watching.join_next() => Err(Fatal::Ended),
        _ = background.join_next() => Err(Fatal::Ended),
        _ = &mut lease_task => Err(Fatal::Ended),
        _ = &mut serving => Err(Fatal::Ended),
    };
    info!("stopping");
    stop.send_replace(true);
    let in_order = async {
        while watching.join_next().await.is_some() {}
        release.send_replace(true);
        let _ = lease_task.await; // it ended one way or the other
    };
    let last_calls = async {
        let _ = serving.await; // so did this
    };
    let all = async { tokio::join!(in_order, last_calls) };
    if tokio::time::timeout(STOP, all).await.is_err() {
        warn!("not everything ended in time");
    }
    ended
}

async fn serve(agent: Option<agent::Listening>, mut stop: watch::Receiver<bool>) {
    match agent {
        Some(agent) => agent.serve().await,
        None => {
            let _ = stop.wait_for(|stop| *stop).await; // an error means the process is ending
        }
    }
}

async fn terminated() -> Result<(), Fatal> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Fatal::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fatal::Signals)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Learns the claims when this replica becomes holder; forgets everything when it is no longer.
async fn follow_ownership(
    ctx: Context,
    hold: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let mut ownership = ctx.ownership.clone();
    let work = async {
        loop {
            let holder = ownership.borrow_and_update().verifies();
            ctx.metrics.set_holder(holder);
            if holder {
                tokio::select! {
                    () = learn_claims(&ctx) => { hold.send_replace(true); }
                    changed = ownership.wait_for(|now| !now.verifies()) => {
                        match changed { Ok(_) => continue, Err(_) => return }
                    }
                }
            } else {
                hold.send_replace(false);
                ctx.forget_all();
            }
            let changed = ownership.wait_for(|now| now.verifies() != holder);
            if changed.await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn learn_claims(ctx: &Context) {
    loop {
        match ctx.learn_claims().await {
            Ok(()) => return,
            Err(error) => warn!(%error, "the claims on record could not be read"),
        }
        tokio::time::sleep(Duration::from_secs(1).mul_f64(0.5 + random::fraction())).await;
    }
}

async fn report_faults(mut fault: watch::Receiver<Option<String>>, metrics: Arc<Metrics>) {
    loop {
        metrics.set_policy_invalid(fault.borrow_and_update().is_some());
        if fault.changed().await.is_err() {
            // Nobody watches the file any more: the process is ending.
            std::future::pending::<()>().await;
        }
    }
}

/// The name in the Lease: the pod's, made unique.
fn replica_name() -> Result<String, random::Unavailable> {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    Ok(format!("{host}_{}", random::hex::<4>()?))
}
