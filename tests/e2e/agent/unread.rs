//! Callers that do not read their answers: they take the room of their bodies, for a while, and no more.

use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::try_join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::Scene;
use super::wire::{LOOPBACK, connect};
use crate::seen::eventually;

/// Their bodies are all that may be worked on at once for one `ServiceAccount`.
const CALLERS: usize = 5;
/// Requests on one connection.
const PIPELINED: usize = 16;

#[tokio::test]
async fn an_answer_that_nobody_reads_takes_room_and_not_for_long() -> Result<()> {
    let scene = &Scene::new("unread").await?;
    let app = &scene.app;
    let other = scene
        .world
        .env
        .workload("other", "acme", &["session"])
        .await?;
    let theirs = other.begin(&scene.agent).await?;
    let session = app.begin(&scene.agent).await?;
    let large = "x".repeat(512 * 1024);
    let body = json!({ "plaintext": STANDARD.encode(&large) }).to_string();
    let request = format!(
        "POST /agent/v1/encrypt HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer {}\r\n\
         X-Session-Token: {session}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        app.token,
        body.len()
    );
    // What the system takes in the caller's place is an answer or two.
    let requests = request.repeat(PIPELINED);
    let mut silent = JoinSet::new();
    for mut stream in try_join_all((0..CALLERS).map(|_| connect(scene, LOOPBACK))).await? {
        let requests = requests.clone();
        silent.spawn(async move {
            // They are not read any more once an answer is stuck; the connection is ended then.
            let _ = stream.write_all(requests.as_bytes()).await;
            std::future::pending::<()>().await;
        });
    }
    // They are read one after the other, and then there is no room for one more.
    let full = async || {
        let answer = app.encrypt(&scene.agent, &session, &large).await?;
        Ok(answer.error() == "busy")
    };
    eventually("all room to be taken", Duration::from_secs(20), full).await?;
    // Who calls for less than is left is served meanwhile, so are others, and all a little later.
    ensure!(app.encrypt(&scene.agent, &session, "hello").await?.is_ok());
    ensure!(other.encrypt(&scene.agent, &theirs, &large).await?.is_ok());
    let served = async || {
        let answer = app.encrypt(&scene.agent, &session, &large).await?;
        Ok(answer.is_ok())
    };
    eventually("room", Duration::from_secs(40), served).await?;
    drop(silent);
    Ok(())
}
