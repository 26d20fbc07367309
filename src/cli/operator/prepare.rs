//! Builds what the operator runs on, from its options. Nothing runs yet, but the watch of the
//! configuration file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tracing::info;

use super::{Args, Fatal};
use crate::clock::SystemClock;
use crate::controller::context::Context;
use crate::controller::events::Events;
use crate::controller::lease::{Elector, Ownership};
use crate::controller::namespaces::Namespaces;
use crate::controller::shares::Shares;
use crate::controller::{self, Syncing};
use crate::credentials::{AzureIdentity, Cluster, SecretSource};
use crate::memory;
use crate::policy::{self, Watched};
use crate::provider::Providers;
use crate::random;
use crate::record::store::KubeStore;
use crate::server::metrics::Metrics;

/// How many attempts on clouds may be under way at once.
const ATTEMPTS: usize = 1024;

/// The context of every task, and the ends of it that only one of them holds.
pub struct Prepared {
    pub ctx: Context,
    pub elector: Elector<SystemClock>,
    /// Who holds the shard, as the elector says.
    pub own: watch::Sender<Ownership>,
    /// Whether this replica holds it and has learnt the claims.
    pub hold: watch::Sender<bool>,
    pub fault: watch::Receiver<Option<String>>,
    /// What is watched; `None` is the whole cluster.
    pub namespaces: Vec<Option<String>>,
}

pub async fn prepare(args: &Args) -> Result<Prepared, Fatal> {
    let protected = memory::protect();
    let watched = policy::watch(args.config.clone()).await?;
    let identity = AzureIdentity::from_environment(watched.policy.borrow().own_azure());
    let client = controller::client().await?;
    let providers = providers(args, &watched, identity, &client)?;
    let metrics = Arc::new(Metrics::new()?);
    let (own, ownership) = watch::channel(Ownership::Follower);
    let (hold, shard_held) = watch::channel(false);
    let replica = replica_name()?;
    info!(
        version = env!("CARGO_PKG_VERSION"), %replica, installation = %args.installation,
        azure_identity = identity.name(), no_dumps = protected.no_dumps,
        memory_locked = protected.locked, "starting"
    );
    let namespaces: Vec<Option<String>> = match args.watch_namespaces.as_slice() {
        [] => vec![None],
        listed => listed.iter().cloned().map(Some).collect(),
    };
    let ctx = Context {
        namespaces: Arc::new(Namespaces::new(client.clone())),
        client: client.clone(),
        clock: Arc::new(SystemClock),
        jitter: random::fraction,
        providers: Arc::new(providers),
        policy: watched.policy,
        records: Arc::new(KubeStore::new(client.clone(), &args.records_namespace)),
        records_namespace: args.records_namespace.clone(),
        installation: args.installation.clone(),
        claims: Arc::default(),
        claims_listed: Arc::default(),
        ownership,
        held: shard_held,
        gate: Arc::default(),
        events: Arc::new(Events::new(client.clone(), &replica, metrics.clone())),
        metrics,
        keys: Arc::default(),
        roster: Arc::default(),
        guests: Arc::default(),
        syncing: Syncing::new(namespaces.len()),
        attempts: Arc::new(Shares::new(ATTEMPTS)),
        wakes: Arc::default(),
        tenants: Arc::default(),
        malformed: Arc::new(Mutex::new(HashMap::new())),
    };
    let lease = format!("tenant-kms-{}-shard-0", args.installation);
    let elector = Elector::new(client, &args.records_namespace, lease, replica, SystemClock);
    Ok(Prepared {
        ctx,
        elector,
        own,
        hold,
        fault: watched.fault,
        namespaces,
    })
}

fn providers(
    args: &Args,
    watched: &Watched,
    identity: AzureIdentity,
    client: &kube::Client,
) -> Result<Providers, Fatal> {
    let secrets = SecretSource::new(args.secret_env_dir.clone());
    let providers = Providers::new(watched.policy.clone(), secrets, identity)?;
    Ok(providers
        .with_cluster(Cluster::new(client.clone()))
        .with_local_keks(args.local_kek_dir.clone()))
}

/// The name in the Lease: the pod's, made unique.
fn replica_name() -> Result<String, random::Unavailable> {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    Ok(format!("{host}_{}", random::hex::<4>()?))
}
