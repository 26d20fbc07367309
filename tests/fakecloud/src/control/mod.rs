//! The control API: the library's own methods over HTTP and JSON, on a loopback port of its own, for clients that are
//! not Rust (the Python checks, the demo, the benches). Adds nothing that the library cannot do.

mod application;
mod aws;
mod cloud;
mod commands;
mod fault;
mod gcp;
mod vault;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::calls::Call;
use crate::world::World;

/// Serves until dropped.
///
/// `POST /commands` takes one command or an array of them, see [`commands::Command`], and answers what they return;
/// `GET /calls`, `GET /count?host=&operation=`, `GET /issued`, `DELETE /calls`.
pub(crate) async fn run(world: Arc<World>, listener: TcpListener) {
    let router = Router::new()
        .route("/commands", post(run_commands))
        .route("/calls", get(calls).delete(reset_calls))
        .route("/count", get(count))
        .route("/issued", get(issued))
        .with_state(world);
    // The listener's end is the cloud's end; there is nobody to tell.
    let _ = axum::serve(listener, router).await;
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Many(Vec<Value>),
    One(Value),
}

async fn run_commands(
    State(world): State<Arc<World>>,
    Json(body): Json<Body>,
) -> (StatusCode, Json<Value>) {
    // Making a key blocks for as long as RSA takes, so not on the listeners' threads.
    let ran = tokio::task::spawn_blocking(move || match body {
        Body::One(command) => commands::run(&world, command),
        Body::Many(many) => many
            .into_iter()
            .map(|command| commands::run(&world, command))
            .collect(),
    });
    match ran.await {
        Ok(Ok(result)) => (StatusCode::OK, Json(result)),
        Ok(Err(error)) => (
            StatusCode::BAD_REQUEST,
            Json(json!({ "error": error.to_string() })),
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(json!({ "error": error.to_string() })),
        ),
    }
}

async fn calls(State(world): State<Arc<World>>) -> Json<Vec<Call>> {
    Json(world.calls.all())
}

async fn reset_calls(State(world): State<Arc<World>>) {
    world.calls.reset();
}

fn any() -> String {
    "*".to_owned()
}

async fn count(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Json<usize> {
    let query = query.unwrap_or_default();
    let given = |name: &str| {
        let found = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        found.map_or_else(any, |(_, value)| value.into_owned())
    };
    Json(world.calls.count(&given("host"), &given("operation")))
}

async fn issued(State(world): State<Arc<World>>) -> Json<Vec<String>> {
    Json(world.calls.issued())
}
