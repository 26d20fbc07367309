//! The wiring: one watch for each namespace (or one for all), woken by answers, by policy changes
//! and by becoming the holder. Ends gracefully when asked.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch as signal;
use tracing::warn;

use super::context::Context;
use super::outcome::ReconcileError;
use super::{Guarded, reconcile, sighting};
use crate::lock::lock;
use crate::provider::TenantId;

/// How many tenants are looked at at once; attempts on clouds are counted apart.
const CONCURRENCY: u16 = 256;
/// A watch ends after so long and goes on from the version that it has seen, which costs little. One that
/// is silent for 5 s more (kube's margin) has lost its connection: a suspension is heard no later.
const WATCH_SECONDS: u32 = 10;

/// How many watches have not listed everything yet.
#[derive(Debug)]
pub struct Syncing(AtomicUsize);

impl Syncing {
    pub fn new(watches: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(watches)))
    }

    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn one_done(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Watches one namespace, or all, until `stop` says so.
pub async fn run(ctx: Context, namespace: Option<String>, stop: signal::Receiver<bool>) {
    let api = match &namespace {
        Some(namespace) => Api::<Guarded>::namespaced(ctx.client.clone(), namespace),
        None => Api::<Guarded>::all(ctx.client.clone()),
    };
    let woken = ctx.wakes.of_watch(namespace.as_deref());
    let (reader, writer) = reflector::store();
    let ctx = Arc::new(ctx);
    let objects = watcher(api, watcher::Config::default().timeout(WATCH_SECONDS))
        .default_backoff()
        .modify(|object| {
            // What nobody here reads is not kept in memory.
            object.managed_fields_mut().clear();
        })
        .reflect(writer)
        .inspect_ok(following(ctx.clone(), namespace, reader.clone()))
        .applied_objects()
        .inspect_err(|_| warn!("the watch was interrupted; it goes on by itself"));
    let changes = changes(&ctx);
    let mut stop = stop;
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await; // an error means the process is ending
    };
    Controller::for_stream(objects, reader)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(woken)
        .reconcile_all_on(changes)
        .graceful_shutdown_on(stopped)
        .run(reconcile::run, on_error, ctx)
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Reconciliations report their own errors and never return one.
fn on_error(_: Arc<Guarded>, _: &ReconcileError, _: Arc<Context>) -> Action {
    Action::requeue(Duration::from_secs(30))
}

/// Notes what the objects say as soon as it is seen, on every replica; drops the memory of tenants
/// whose object is gone, also of those that went while nobody watched.
fn following(
    ctx: Arc<Context>,
    namespace: Option<String>,
    store: Store<Guarded>,
) -> impl FnMut(&Event<Guarded>) + Send + 'static {
    let mut synced = false;
    move |event| match event {
        Event::Apply(object) => note(&ctx, object, false),
        Event::Delete(object) => gone(&ctx, &id_of(object)),
        Event::InitDone => {
            let listed = |id: &TenantId| namespace.as_ref().is_none_or(|one| *one == id.namespace);
            let objects = store.state();
            let alive: HashSet<TenantId> = objects.iter().map(|object| id_of(object)).collect();
            for object in objects {
                note(&ctx, &object, true);
            }
            let mut lost = ctx.roster.keep(&alive, listed);
            let known = lock(&ctx.tenants);
            lost.extend(
                known
                    .keys()
                    .filter(|id| listed(id) && !alive.contains(id))
                    .cloned(),
            );
            drop(known);
            for id in lost {
                gone(&ctx, &id);
            }
            if !synced {
                synced = true;
                ctx.syncing.one_done();
            }
        }
        Event::Init | Event::InitApply(_) => {}
    }
}

/// What forbids the use of a tenant holds at once. The holder's own word comes before its echo.
pub(super) fn note(ctx: &Context, object: &Guarded, relisted: bool) {
    let id = id_of(object);
    let sighting = sighting::of(object, &ctx.installation);
    let vetoed = sighting.veto.is_some();
    let guest = ctx.is_guest();
    ctx.roster
        .see(id.clone(), sighting, ctx.clock.now(), relisted || guest);
    if vetoed && guest {
        ctx.wipe(&id);
    }
    ctx.guests.wake(&id);
    ctx.keys.nudge();
}

fn gone(ctx: &Context, id: &TenantId) {
    ctx.roster.remove(id);
    ctx.forget(id);
    ctx.wipe(id);
    ctx.guests.wake(id);
    ctx.keys.nudge();
}

fn id_of(object: &Guarded) -> TenantId {
    TenantId::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Everything is looked at again when the policy changes and when this replica becomes holder.
fn changes(ctx: &Arc<Context>) -> impl Stream<Item = ()> + Send + 'static {
    let policy = stream::unfold(ctx.policy.clone(), |mut policy| async move {
        policy.changed().await.ok().map(|()| ((), policy))
    });
    let held = stream::unfold(ctx.held.clone(), |mut held| async move {
        held.changed().await.ok().map(|()| ((), held))
    });
    stream::select(policy, held)
}
