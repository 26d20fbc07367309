//! A server that does nothing but answer, on the operator's core: how long its calls take is the load's and
//! the machine's, whoever serves.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::thread::gettid;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::cores::Cores;
use super::wire;

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Bare {
    pub address: SocketAddr,
    pub tls: Arc<ClientConfig>,
    /// Its thread.
    pub server: String,
    _until: oneshot::Sender<()>,
}

impl Bare {
    /// Answers each request with so many bytes.
    pub fn start(cores: Cores, answer: usize) -> Result<Self> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = own.cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der());
        let server = ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.map_err(anyhow::Error::msg)?)?;
        let acceptor = TlsAcceptor::from(Arc::new(server));

        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (until, ended) = oneshot::channel::<()>();
        let answer = Bytes::from(vec![b'x'; answer]);
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || -> Result<()> {
            cores.serve_here()?;
            tell.send(gettid())?;
            runtime.block_on(async {
                tokio::select! {
                    failed = accept(socket, acceptor, answer) => failed,
                    _ = ended => Ok(()),
                }
            })
        });
        Ok(Self {
            address,
            tls: wire::trusting(roots)?,
            server: format!(
                "{}/task/{}",
                std::process::id(),
                told.recv()?.as_raw_nonzero()
            ),
            _until: until,
        })
    }
}

async fn accept(socket: std::net::TcpListener, tls: TlsAcceptor, answer: Bytes) -> Result<()> {
    let socket = TcpListener::from_std(socket)?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = socket.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(serve(stream, tls.clone(), answer.clone()));
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, answer: Bytes) -> Result<()> {
    let stream = tls.accept(stream).await?;
    let service = service_fn(async |request: Request<Incoming>| {
        // As whoever answers must have read what was asked.
        let read = request.into_body().collect().await;
        drop(read);
        Ok::<_, Infallible>(Response::new(Full::new(answer.clone())))
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    serving.await.context("a connection")
}
