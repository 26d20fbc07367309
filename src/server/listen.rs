//! Listening: bounds on connections, on the time that each may take, and an orderly end. What is served
//! is decided elsewhere.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::patient::Patient;
use crate::lock::lock;
use crate::random;

/// Of a request's head, and of what is read at a time.
const MOST_HEAD: usize = 32 * 1024;
/// For a TLS handshake, and then for the first request's head.
const BEGINNING: Duration = Duration::from_secs(5);
/// How long what is under way may take when the process ends.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// What a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// And of one address, which also has no more than are left for others: further ones are closed.
    pub of_peer: usize,
    /// Until a further request's head is there, from the moment that one may come.
    pub head: Duration,
    /// A connection ends after its next answer when it is older: so clients find other replicas.
    pub age: Duration,
}

/// How many connections there are, and each address has.
#[derive(Debug, Default)]
struct Peers(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// One of an address's connections, until it is dropped.
struct Peer {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl Peers {
    /// However many addresses take what they can, as many connections as the greediest has are left.
    fn enter(self: &Arc<Self>, address: IpAddr, bounds: &Bounds) -> Option<Peer> {
        let mut counts = lock(&self.0);
        let left = bounds.connections.saturating_sub(counts.all);
        let count = counts.of.get(&address).copied().unwrap_or_default();
        if count >= bounds.of_peer.min(left) {
            return None;
        }
        counts.all += 1;
        counts.of.insert(address, count + 1);
        drop(counts);
        Some(Peer {
            peers: self.clone(),
            address,
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut counts = lock(&self.peers.0);
        counts.all -= 1;
        if let Some(count) = counts.of.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.of.remove(&self.address);
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

/// `[::]` is every address of both families; on a node without IPv6, of the other.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let mut addresses = vec![address];
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        addresses.push((Ipv4Addr::UNSPECIFIED, address.port()).into());
    }
    TcpListener::bind(&*addresses).await
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
        let Some(of_peer) = peers.enter(peer.ip().to_canonical(), &bounds) else {
            continue;
        };
        let (service, tls, stop) = (service(peer.ip().to_canonical()), tls.clone(), stop.clone());
        connections.spawn(async move {
            let _places = (of_peer, place);
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
            if let Ok(Ok(stream)) = timeout(BEGINNING, tls.accept(stream)).await {
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
    let asked = Arc::new(Notify::new());
    let first = asked.clone();
    let service = service_fn(move |request| {
        asked.notify_one();
        service.call(request)
    });
    let silent = async {
        if timeout(BEGINNING, first.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
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
        () = silent => return,
        () = sleep(age) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    serving.as_mut().graceful_shutdown();
    // The call under way has its own deadline; an idle connection ends at once.
    let _ = timeout(bounds.head.max(LAST_CALLS), serving).await;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections: 12,
        of_peer: 6,
        head: Duration::from_mins(1),
        age: Duration::from_mins(10),
    };

    /// The connections that this address gets.
    fn greedy(peers: &Arc<Peers>, last: u8) -> Vec<Peer> {
        let address = IpAddr::from([10, 0, 0, last]);
        std::iter::from_fn(|| peers.enter(address, &BOUNDS)).collect()
    }

    #[test]
    fn an_address_has_so_many_connections_and_leaves_some_to_others() {
        let peers = Arc::<Peers>::default();
        let mut held = vec![greedy(&peers, 1)];
        assert_eq!(held[0].len(), 6);
        for (last, most) in [(2, 3), (3, 2), (4, 1)] {
            held.push(greedy(&peers, last));
            assert_eq!(held.last().map(Vec::len), Some(most), "{last}");
        }
        assert!(greedy(&peers, 1).is_empty());
        drop(held);
        let counts = lock(&peers.0);
        assert!(counts.all == 0 && counts.of.is_empty());
    }

    #[tokio::test]
    async fn every_address_is_of_both_families() {
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let listener = bind(all).await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let mut families: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            families.push(Ipv6Addr::LOCALHOST.into());
        }
        for address in families {
            let reached = TcpStream::connect((address, port)).await;
            assert!(reached.is_ok(), "{address}");
        }
    }

    /// How long a connection lasts on which this is sent, a byte each second after the first part.
    async fn lasts(at_once: &str, slowly: &str) -> u64 {
        let (near, far) = duplex(4096);
        let (_stop, stopped) = watch::channel(false);
        let answer = service_fn(|_| async { Ok(Response::new(Full::new(Bytes::new()))) });
        let since = Instant::now();
        let (mut reads, mut writes) = tokio::io::split(far);
        let sending = async {
            // The other end may be gone before all is said.
            let _ = writes.write_all(at_once.as_bytes()).await;
            for byte in slowly.bytes() {
                sleep(Duration::from_secs(1)).await;
                let _ = writes.write_u8(byte).await;
            }
        };
        let mut answers = Vec::new();
        let ((), (), read) = tokio::join!(
            serve(near, answer, BOUNDS, stopped),
            sending,
            reads.read_to_end(&mut answers),
        );
        read.expect("an end");
        since.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_let_go_sooner_than_who_did() {
        const ASKED: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(lasts("", "").await, 5);
        assert_eq!(lasts("", "GET /").await, 5);
        assert_eq!(lasts(ASKED, "").await, 60);
    }
}
