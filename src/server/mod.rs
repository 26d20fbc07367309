//! What the operator serves: health and metrics, on their own address, without credentials.

pub mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use crate::controller::Syncing;
use metrics::Metrics;

#[derive(Clone, Debug)]
struct Served {
    metrics: Arc<Metrics>,
    syncing: Arc<Syncing>,
}

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
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            let _ = stop.wait_for(|stop| *stop).await; // an error means the process is ending
        })
        .await
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
