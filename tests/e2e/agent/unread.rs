//! Callers that do not read their answers: they take the room of their bodies, for a while, and no more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::try_join_all;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Scene;
use crate::seen::eventually;

/// Their bodies are all that may be worked on at once for one `ServiceAccount`.
const CALLERS: usize = 5;
/// Requests on one connection.
const PIPELINED: usize = 16;

async fn connect(scene: &Scene) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(scene.world.env.ca().await?.as_bytes()) {
        roots.add(root?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpSocket::new_v4()?;
    // The system itself does not take the answer in the caller's place.
    socket.set_recv_buffer_size(4096)?;
    let address = scene.agent.url.trim_start_matches("https://");
    let stream = socket.connect(address.parse()?).await?;
    let name = ServerName::try_from("127.0.0.1")?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?)
}

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
    for mut stream in try_join_all((0..CALLERS).map(|_| connect(scene))).await? {
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
