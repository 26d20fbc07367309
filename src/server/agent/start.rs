//! Brings the agent API up: its certificate, its address, its bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::info;

use super::Agent;
use crate::controller::context::Context;
use crate::server::health::Readiness;
use crate::server::listen::{self, Bounds};
use crate::server::metrics::Metrics;
use crate::server::tls::{self, Certificates, Surroundings};

/// Workloads keep their connections; each costs memory.
const BOUNDS: Bounds = Bounds {
    connections: 4096,
    of_peer: 1024,
    head: Duration::from_mins(1),
    age: Duration::from_mins(10),
};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Tls(#[from] tls::StartError),
    #[error("the address cannot be listened on: {0}")]
    Address(#[from] std::io::Error),
}

/// Bound, and served as soon as somebody drives it.
#[derive(Debug)]
pub struct Listening {
    agent: Arc<Agent>,
    certificates: Certificates,
    listener: TcpListener,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

pub async fn start(
    address: SocketAddr,
    options: &tls::Options,
    ctx: &Context,
    stop: watch::Receiver<bool>,
) -> Result<Listening, StartError> {
    let around = Surroundings {
        client: ctx.client.clone(),
        records_namespace: ctx.records_namespace.clone(),
        holder: ctx.held.clone(),
        clock: ctx.clock.clone(),
    };
    let certificates = tls::start(options, around).await?;
    let listener = listen::bind(address).await?;
    let address = listener.local_addr()?.to_string();
    info!(address, "agent API listening");
    Ok(Listening {
        agent: Arc::new(Agent::new(Arc::new(ctx.clone()))),
        certificates,
        listener,
        metrics: ctx.metrics.clone(),
        stop,
    })
}

impl Listening {
    /// Ready when there is a certificate.
    pub fn readiness(&self) -> Readiness {
        let certificates = self.certificates.clone();
        Arc::new(move || {
            if certificates.ready() {
                Ok(())
            } else {
                Err("the agent API has no certificate yet")
            }
        })
    }

    /// Until `stop` says so.
    pub async fn serve(self) {
        let acceptor = TlsAcceptor::from(self.certificates.config());
        let agent = self.agent;
        let service = move |peer| {
            let agent = agent.clone();
            service_fn(move |request| {
                let agent = agent.clone();
                async move { Ok(agent.answer(peer, request).await) }
            })
        };
        tokio::select! {
            () = listen::run(self.listener, Some(acceptor), service, BOUNDS, self.stop) => {}
            () = measure(self.certificates, self.metrics) => {}
        }
    }
}

/// Says in the metrics how the certificate stands; for ever.
pub(in crate::server) async fn measure(mut certificates: Certificates, metrics: Arc<Metrics>) {
    loop {
        let fault = certificates.fault().borrow().is_some();
        metrics.set_certificate(certificates.until(), fault);
        certificates.changed().await;
    }
}
