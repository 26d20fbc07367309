//! Health and metrics, on their own address, without credentials.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tracing::info;

use super::listen::{self, Bounds};
use super::metrics::Metrics;
use crate::controller::Syncing;

const BOUNDS: Bounds = Bounds {
    connections: 512,
    of_peer: 16,
    head: Duration::from_secs(5),
    age: Duration::from_mins(5),
};

/// Whether a part that is to serve can.
pub type Readiness = Arc<dyn Fn() -> Result<(), &'static str> + Send + Sync>;

#[derive(Clone)]
struct Served {
    metrics: Arc<Metrics>,
    syncing: Arc<Syncing>,
    /// None where nothing else is served.
    agent: Option<Readiness>,
}

/// Serves `/livez`, `/readyz` and `/metrics` until `stop` says so.
pub async fn run(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    syncing: Arc<Syncing>,
    agent: Option<Readiness>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = listen::bind(address).await?;
    let address = listener.local_addr()?.to_string();
    info!(address, "metrics listening");
    let routes = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(exposition))
        .with_state(Served {
            metrics,
            syncing,
            agent,
        });
    let service = TowerToHyperService::new(routes);
    listen::run(listener, None, |_| service.clone(), BOUNDS, stop).await;
    Ok(())
}

/// Ready when every watch has listed its objects and the agent API has a certificate; holding the
/// shard is no matter of readiness.
async fn ready(State(served): State<Served>) -> (StatusCode, &'static str) {
    if !served.syncing.is_done() {
        let why = "the watch has not listed all objects yet";
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    match served.agent.map_or(Ok(()), |agent| agent()) {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn exposition(State(served): State<Served>) -> Result<String, StatusCode> {
    served
        .metrics
        .text()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn readiness(watches: usize, agent: Option<Readiness>) -> (StatusCode, &'static str) {
        let served = Served {
            metrics: Arc::new(Metrics::new().expect("metrics")),
            syncing: Syncing::new(watches),
            agent,
        };
        ready(State(served)).await
    }

    #[tokio::test]
    async fn nobody_is_sent_here_before_all_objects_are_listed() {
        let can: Readiness = Arc::new(|| Ok(()));
        let cannot: Readiness = Arc::new(|| Err("no certificate"));
        for (watches, agent, wanted) in [
            (1, Some(&can), Err("listed all objects")),
            (1, None, Err("listed all objects")),
            (0, Some(&cannot), Err("no certificate")),
            (0, Some(&can), Ok(())),
            (0, None, Ok(())),
        ] {
            let (status, said) = readiness(watches, agent.cloned()).await;
            match wanted {
                Ok(()) => assert_eq!((status, said), (StatusCode::OK, "ok")),
                Err(why) => {
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                    assert!(said.contains(why), "{said}");
                }
            }
        }
    }
}
