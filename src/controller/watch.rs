//! The wiring: one watch for each namespace (or one for all), whose tenants are looked at when an
//! object changes, when an answer came, when it is time, when the policy changes and when this replica
//! becomes the holder. What kube's `Controller` does, which takes 0.7 KiB more for each tenant. Ends
//! gracefully when asked.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, ExponentialBackoff, watcher};
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::context::Context;
use super::object::Guarded;
use super::objects::Objects;
use super::reconcile;
use super::schedule::Schedule;
use crate::provider::TenantId;

/// How many tenants are looked at at once; attempts on clouds are counted apart.
const CONCURRENCY: usize = 256;
/// A watch ends after so long and goes on from the version that it has seen, which costs little. One that
/// is silent for 5 s more (kube's margin) has lost its connection: a suspension is heard no later.
const WATCH_SECONDS: u32 = 10;

/// After an error, and twice as long by jitter. kube's own go to a minute, and stay there while nothing
/// changes: for so long a suspension would not be heard.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Watches one namespace, or all, until `stop` says so.
pub async fn run(ctx: Context, namespace: Option<String>, mut stop: signal::Receiver<bool>) {
    let api = match &namespace {
        Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
        None => Api::all(ctx.client.clone()),
    };
    let mut woken = ctx.wakes.of_watch(namespace.as_deref());
    let ctx = Arc::new(ctx);
    let events = watcher(api, watcher::Config::default().timeout(WATCH_SECONDS))
        .backoff(pauses())
        .inspect_err(|_| warn!("the watch was interrupted; it goes on by itself"))
        .filter_map(async |event| event.ok());
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await; // an error means the process is ending
    };
    let (mut events, mut changes, mut stopped) = (pin!(events), pin!(changes(&ctx)), pin!(stopped));
    let mut objects = Objects::new(ctx.clone(), namespace);
    let mut schedule = Schedule::default();
    let mut looks = JoinSet::new();
    loop {
        while looks.len() < CONCURRENCY
            && let Some(id) = schedule.take(Instant::now())
        {
            match objects.get(&id) {
                Some(object) => _ = looks.spawn(look(ctx.clone(), id, object)),
                None => schedule.done(&id, None),
            }
        }
        let due = schedule.next().filter(|_| looks.len() < CONCURRENCY);
        tokio::select! {
            () = &mut stopped => break,
            Some(event) = events.next() => {
                for id in objects.take(event) {
                    schedule.ask(&id, Instant::now());
                }
            }
            Some(id) = woken.next() => schedule.ask(&id, Instant::now()),
            Some(()) = changes.next() => {
                for id in objects.ids() {
                    schedule.ask(id, Instant::now());
                }
            }
            Some(looked) = looks.join_next() => {
                let (id, pause) = looked.expect("a look at a tenant does not panic");
                objects.looked(&id);
                schedule.done(&id, pause.map(|pause| Instant::now() + pause));
            }
            () = until(due) => {}
        }
    }
    while looks.join_next().await.is_some() {}
}

async fn look(
    ctx: Arc<Context>,
    id: TenantId,
    object: Arc<Guarded>,
) -> (TenantId, Option<Duration>) {
    let pause = reconcile::run(&ctx, &id, &object).await;
    (id, pause)
}

fn pauses() -> ExponentialBackoff {
    let pauses = backon::ExponentialBuilder::default()
        .with_min_delay(PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter();
    pauses.into()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_often_it_failed_the_watch_is_opened_again_within_seconds() {
        let longest = pauses().take(1_000).max();
        assert!(longest.is_some_and(|longest| longest <= Duration::from_secs(4)));
        assert_eq!(pauses().take(1_000).count(), 1_000, "for ever");
    }
}
