//! What one peer, or one tenant, may take of a replica: a request's head, connections, room for bodies.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::future::join_all;
use harness::Workload;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::wire::{LOOPBACK, connect, dial};
use super::{QUICK, Scene};
use crate::seen::eventually;
use crate::support::manifest;

/// As docs/use-from-your-workload.md has them.
const HEAD: usize = 32 * 1024;
const CONNECTIONS: usize = 1024;
const SOON: Duration = Duration::from_secs(10);

/// The status of the answer to a request whose head has this many bytes; `None` without an answer.
async fn head_of(scene: &Scene, size: usize) -> Result<Option<u16>> {
    let mut stream = connect(scene, LOOPBACK).await?;
    let begin =
        "GET /agent/v1/openapi.json HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nX-Fill: ";
    let end = "\r\n\r\n";
    let fill = "x".repeat(size - begin.len() - end.len());
    // What is refused is not read to its end.
    let _ = stream
        .write_all(format!("{begin}{fill}{end}").as_bytes())
        .await;
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await?;
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1);
    Ok(status.and_then(|status| status.parse().ok()))
}

#[tokio::test]
async fn a_head_has_a_size_that_is_enough_and_no_more() -> Result<()> {
    let scene = &Scene::new("heads").await?;
    ensure!(head_of(scene, HEAD / 2).await? == Some(200));
    ensure!(matches!(head_of(scene, 2 * HEAD).await?, None | Some(431)));
    // Who sent it harmed only itself.
    scene.app.begin(&scene.agent).await?;
    Ok(())
}

/// Whether the replica ends this connection sooner than any other that says nothing.
async fn is_ended(stream: &mut TcpStream) -> Result<bool> {
    let mut byte = [0];
    match timeout(Duration::from_secs(4), stream.read(&mut byte)).await {
        Err(_) => Ok(false),
        Ok(Ok(0) | Err(_)) => Ok(true),
        Ok(Ok(_)) => bail!("it spoke first"),
    }
}

#[tokio::test]
async fn one_address_takes_so_many_connections_and_not_the_others() -> Result<()> {
    let scene = &Scene::new("peers").await?;
    let crowd = Ipv4Addr::new(127, 0, 0, 2);
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(dial(scene, crowd).await?);
    }
    let mut beyond = dial(scene, crowd).await?;
    ensure!(is_ended(&mut beyond).await?, "one more than the bound");
    // Another address is served while these are held.
    ensure!(connect(scene, Ipv4Addr::new(127, 0, 0, 3)).await.is_ok());
    scene.app.begin(&scene.agent).await?;
    drop(held);
    // And this one again, as soon as it holds fewer.
    let again = async || Ok(connect(scene, crowd).await.is_ok());
    eventually("room for this address", SOON, again).await?;
    Ok(())
}

/// A body of a mebibyte that is announced and does not come.
async fn announce(scene: &Scene, app: &Workload, session: &str) -> Result<TlsStream<TcpStream>> {
    let mut stream = connect(scene, LOOPBACK).await?;
    let head = format!(
        "POST /agent/v1/encrypt HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer {}\r\n\
         X-Session-Token: {session}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        app.token,
        1024 * 1024 - 1
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Announces bodies for ever, each as soon as the one before is given up or refused.
async fn announces(scene: &Scene, app: &Workload, session: &str) -> Infallible {
    loop {
        if let Ok(mut stream) = announce(scene, app, session).await {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

#[tokio::test]
async fn all_callers_of_a_tenant_leave_room_for_another_tenant() -> Result<()> {
    let scene = &Scene::new("crowd").await?;
    let env = &scene.world.env;
    env.apply(&manifest("beta", QUICK)).await?.success()?;
    env.wait_condition("beta", "Active", "True", Some("Verified"), SOON)
        .await?;
    let other = env.workload("other", "beta", &["session"]).await?;
    let theirs = other.begin(&scene.agent).await?;
    // As many as would take all, were each bounded by itself.
    let mut crowd = Vec::new();
    for number in 0..6 {
        let account = format!("crowd-{number}");
        let app = env.workload(&account, "acme", &["session"]).await?;
        let session = app.begin(&scene.agent).await?;
        crowd.push((app, session));
    }
    let bodies = (0..3).flat_map(|_| &crowd);
    let announced = join_all(bodies.map(|(app, session)| announces(scene, app, session)));
    let large = "x".repeat(512 * 1024);
    let (app, session) = &crowd[0];
    let full = async || {
        let crowded = app.encrypt(&scene.agent, session, &large).await?;
        Ok(crowded.error() == "busy")
    };
    let another = async {
        eventually("the tenant's room to be taken", SOON, full).await?;
        let served = other.encrypt(&scene.agent, &theirs, &large).await?;
        served.ok().map(drop)
    };
    tokio::select! {
        served = another => served,
        _ = announced => bail!("the crowd has left"),
    }
}
