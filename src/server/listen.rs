//! Listening: bounds on connections, on the time that each may take, and an orderly end. What is served
//! is decided elsewhere.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::patient::Patient;
use crate::controller::context::lock;
use crate::random;

/// Of a request's head, and of what is read at a time.
const MOST_HEAD: usize = 32 * 1024;
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long what is under way may take when the process ends.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// What a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// And of one address: further ones are closed.
    pub of_peer: usize,
    /// Until a request's head is there, from the moment that one may come.
    pub head: Duration,
    /// A connection ends after its next answer when it is older: so clients find other replicas.
    pub age: Duration,
}

/// How many connections each address has.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// One of an address's connections, until it is dropped.
struct Peer {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl Peers {
    fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Peer> {
        let mut all = lock(&self.0);
        let count = all.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(all);
        Some(Peer {
            peers: self.clone(),
            address,
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut all = lock(&self.peers.0);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

/// What answers the requests of a connection; it has an answer to everything.
pub trait Serves<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<B, S> Serves<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// The body of its answers.
pub trait Answers:
    Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

impl<B> Answers for B where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

/// Serves until `stop` says so, each connection by what `service` gives for its address; what is under way
/// then is still answered.
pub async fn run<S, B>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: impl Fn(IpAddr) -> S,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) where
    S: Serves<B>,
    B: Answers,
{
    let room = Arc::new(Semaphore::new(bounds.connections));
    let peers = Arc::<Peers>::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = stream else {
            // Out of file descriptors, say: the next one may fare better.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(of_peer) = peers.enter(peer.ip().to_canonical(), bounds.of_peer) else {
            continue;
        };
        let (service, tls, stop) = (service(peer.ip().to_canonical()), tls.clone(), stop.clone());
        connections.spawn(async move {
            let _place = (place, of_peer);
            connection(stream, tls, service, bounds, stop).await;
        });
    }
    drop(listener);
    // Whatever is not done by then ends with the process.
    let _ = timeout(LAST_CALLS, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

/// Whatever ends a connection ends only that.
async fn connection<B: Answers>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: impl Serves<B>,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
) {
    // An answer is one small write; not set, it may be late by 40 ms.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(stream, service, bounds, stop).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                serve(stream, service, bounds, stop).await;
            }
        }
    }
}

async fn serve<B: Answers>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: impl Serves<B>,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut serving = pin!(serving);
    // Not all at once: those of one rollout began together.
    let age = bounds.age.mul_f64(0.75 + 0.5 * random::fraction());
    tokio::select! {
        _ = serving.as_mut() => return,
        () = sleep(age) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    serving.as_mut().graceful_shutdown();
    // The call under way has its own deadline; an idle connection ends at once.
    let _ = timeout(bounds.head.max(LAST_CALLS), serving).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_others_have_theirs() {
        let peers = Arc::<Peers>::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held = [peers.enter(one, 2), peers.enter(one, 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(peers.enter(one, 2).is_none());
        assert!(peers.enter(other, 2).is_some());
        drop(held);
        assert!(lock(&peers.0).is_empty());
    }
}
