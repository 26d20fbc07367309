//! The server side of TLS for the agent API: a certificate that changes while the process runs, read
//! from files or issued by an authority of the operator's own.

pub mod ca;
mod files;
mod options;
mod pair;

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::clock::Clock;
pub use options::{Misused, Options, Source};
pub use pair::{Pair, Unfit};

/// Why there is no TLS at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Options(#[from] Misused),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// What an authority of the operator's own needs of the process.
pub struct Surroundings {
    pub client: Client,
    pub records_namespace: String,
    /// Whether this replica holds the shard, and so publishes what clients trust.
    pub holder: watch::Receiver<bool>,
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// The certificate in use, kept current as long as somebody holds this or a configuration of it.
#[derive(Clone, Debug)]
pub struct Certificates {
    held: watch::Receiver<Option<Pair>>,
    fault: watch::Receiver<Option<String>>,
    config: Arc<ServerConfig>,
}

/// Follows the files or keeps an authority. There may be no certificate yet, which stops nothing else:
/// see [`Certificates::ready`].
pub async fn start(options: &Options, around: Surroundings) -> Result<Certificates, StartError> {
    let (held, fault) = match options.source()? {
        Source::Files(paths) => files::follow(paths, around.clock).await,
        Source::Own { names, namespaces } => ca::follow(names, namespaces, around),
    };
    let config = Arc::new(config(held.clone())?);
    Ok(Certificates {
        held,
        fault,
        config,
    })
}

impl Certificates {
    /// Made once; every handshake takes the certificate that is current then.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Without a certificate every handshake fails.
    pub fn ready(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// When the certificate in use ends.
    pub fn until(&self) -> Option<Timestamp> {
        self.held.borrow().as_ref().map(Pair::until)
    }

    /// What keeps the certificate from being renewed now (`None`: nothing).
    pub fn fault(&self) -> watch::Receiver<Option<String>> {
        self.fault.clone()
    }

    /// Until the certificate or what keeps it from being renewed changes.
    pub async fn changed(&mut self) {
        let changed = tokio::select! {
            held = self.held.changed() => held,
            fault = self.fault.changed() => fault,
        };
        if changed.is_err() {
            // Nobody keeps the certificate any more: the process is ending.
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug)]
struct Current(watch::Receiver<Option<Pair>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().as_ref().map(Pair::key)
    }
}

fn config(held: watch::Receiver<Option<Pair>>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(held)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Who comes back to this replica spares both sides the signature. Nothing is remembered here for
    // it: the ticket holds the session, under keys that change by themselves.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

#[cfg(test)]
mod tests;
