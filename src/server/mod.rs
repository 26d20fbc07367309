//! What the operator serves: health and metrics, on their own address, without credentials.

pub mod agent;
pub mod metrics;
pub mod agent;
pub mod metrics;
pub mod reviews;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

use crate::controller::Syncing;
use metrics::Metrics;

#[derive(Clone, Debug)]
struct Served {
    metrics: Arc<Metrics>,
    syncing: Arc<Syncing>,
}

/// How long a peer may take to send a request's head, and how long a connection may last.
const HEAD: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_mins(5);
/// How many connections may be open at once; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// Serves `/livez`, `/readyz` and `/metrics` until `stop` says so.
pub async fn run(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    syncing: Arc<Syncing>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?.to_string();
    info!(address, "metrics listening");
    let routes = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(exposition))
        .with_state(Served { metrics, syncing });
    let service = TowerToHyperService::new(routes);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = stream else {
            // Out of file descriptors, say: the next one may fare better.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = service.clone();
        connections.spawn(async move {
            let _place = place;
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // Whatever ends a connection ends only that.
            let _ = timeout(CONNECTION, serving).await;
        });
    }
}

/// Ready when every watch has listed its objects; holding the shard is no matter of readiness.
async fn ready(State(served): State<Served>) -> (StatusCode, &'static str) {
    if served.syncing.is_done() {
        (StatusCode::OK, "ok")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the watch has not listed all objects yet",
        )
    }
}

async fn exposition(State(served): State<Served>) -> Result<String, StatusCode> {
    served
        .metrics
        .text()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
