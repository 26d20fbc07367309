//! Connections to the agent API as bytes, for what no HTTP client would do.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Scene;

pub const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// One from this address of the machine's own.
pub async fn connect(scene: &Scene, from: Ipv4Addr) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(scene.world.env.ca().await?.as_bytes()) {
        roots.add(root?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1")?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, dial(scene, from).await?)
        .await?)
}

/// The same before anything was said on it.
pub async fn dial(scene: &Scene, from: Ipv4Addr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // The system itself does not take an answer in the caller's place.
    socket.set_recv_buffer_size(4096)?;
    socket.bind((from, 0).into())?;
    let address = scene.agent.url.trim_start_matches("https://");
    Ok(socket.connect(address.parse()?).await?)
}
