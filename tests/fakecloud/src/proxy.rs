//! The HTTPS proxy in front of the clouds: CONNECT to a host that exists, TLS under that name, HTTP inside. Whatever
//! else is asked of it is refused and written in the ledger; nothing is ever forwarded anywhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::effects::Effect;
use crate::http::{Answer, Asked};
use crate::pipeline::{self, Seen};
use crate::services;
use crate::socket::Socket;
use crate::world::World;

const MAX_HEAD: usize = 16 * 1024;

/// Accepts until dropped; dropping ends every connection too.
pub(crate) async fn run(world: Arc<World>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        // Finished connections are reaped here, so a long bench does not collect them.
        while connections.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(connection(world.clone(), stream));
        }
    }
}

async fn connection(world: Arc<World>, stream: TcpStream) {
    let mut socket = Socket::new(stream);
    let Ok(head) = Head::read(&mut socket).await else {
        return;
    };
    if head.method != "CONNECT" {
        refuse(
            &mut socket,
            &world,
            head.asked("plain-http"),
            "plain-http",
            403,
        )
        .await;
        return;
    }
    let Some(host) = known_host(&world, &head.target) else {
        refuse(
            &mut socket,
            &world,
            head.asked("connect"),
            "connect-refused",
            502,
        )
        .await;
        return;
    };
    let asked = Asked {
        host: host.clone(),
        ..head.asked("connect")
    };
    let call = Seen::operation("connect").call(&asked);
    let mut trusted = true;
    if let Some(effect) = world.faults.hit(&call) {
        let ticket = world.calls.arrived(call);
        match effect {
            Effect::Hang => std::future::pending::<()>().await,
            Effect::Latency(delay) => tokio::time::sleep(delay).await,
            Effect::UntrustedCertificate => trusted = false,
            effect => {
                if let Some(answer) = effect.replacement() {
                    world.calls.answered(ticket, answer.status, None);
                    close_with(&mut socket, &answer).await;
                } else {
                    socket.reset().arm();
                }
                return;
            }
        }
    }
    let Ok(config) = world.tls.server(&host, trusted) else {
        return;
    };
    if socket
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .is_err()
    {
        return;
    }
    let reset = socket.reset();
    if let Ok(stream) = TlsAcceptor::from(config).accept(socket).await {
        pipeline::serve(world, host, stream, reset).await;
    }
}

/// The host of `host:443`, if one of the clouds answers under that name.
fn known_host(world: &World, target: &str) -> Option<String> {
    let host = target.strip_suffix(":443")?.to_ascii_lowercase();
    services::knows(world, &host).then_some(host)
}

async fn refuse(socket: &mut Socket, world: &World, asked: Asked, operation: &str, status: u16) {
    let ticket = world.calls.arrived(Seen::operation(operation).call(&asked));
    world.calls.answered(ticket, status, None);
    close_with(
        socket,
        &Answer::new(status, "text/plain", "fakecloud: no such host\n"),
    )
    .await;
}

async fn close_with(socket: &mut Socket, answer: &Answer) {
    use std::fmt::Write;
    let mut head = format!("HTTP/1.1 {} refused by the proxy\r\n", answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(
        head,
        "content-length: {}\r\nconnection: close\r\n\r\n",
        answer.body.len()
    );
    let sent = async {
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(&answer.body).await?;
        socket.shutdown().await?;
        // Closing with unread bytes would be a reset, and the client would never see the answer.
        tokio::io::copy(socket, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), sent).await;
}

/// The first line of a proxy request; the headers are read and dropped.
struct Head {
    method: String,
    target: String,
}

impl Head {
    async fn read(socket: &mut Socket) -> io::Result<Self> {
        let mut head = Vec::new();
        // Byte by byte on purpose: what follows the head belongs to TLS.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == MAX_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            head.push(socket.read_u8().await?);
        }
        let text = String::from_utf8(head).map_err(io::Error::other)?;
        let mut words = text.lines().next().unwrap_or_default().split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) => Ok(Self {
                method: method.to_owned(),
                target: target.to_owned(),
            }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn asked(&self, kind: &str) -> Asked {
        let (host, path, query) = if kind == "connect" {
            let host = self
                .target
                .rsplit_once(':')
                .map_or(self.target.as_str(), |(host, _)| host);
            (host.to_owned(), self.target.clone(), None)
        } else {
            let rest = self.target.strip_prefix("http://").unwrap_or(&self.target);
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (path, query) = path
                .split_once('?')
                .map_or((path, None), |(path, query)| (path, Some(query)));
            (host.to_owned(), path.to_owned(), query.map(str::to_owned))
        };
        Asked {
            host,
            method: Method::from_bytes(self.method.as_bytes()).unwrap_or(Method::CONNECT),
            path,
            query,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
        }
    }
}
