//! The proxy: which hosts exist, what else it refuses, and that nothing is cleaned on the way.

use std::sync::Arc;

use fakecloud::FakeCloud;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::desk::{Desk, HOST, client};

/// Sends bytes to the proxy; everything it says until it ends the connection.
async fn raw(cloud: &FakeCloud, sent: &str) -> String {
    let mut stream = TcpStream::connect(cloud.proxy_url().strip_prefix("http://").unwrap())
        .await
        .unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

/// One request line inside a tunnel to `host`, byte for byte as given.
async fn inside(cloud: &FakeCloud, host: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(cloud.proxy_url().strip_prefix("http://").unwrap())
        .await
        .unwrap();
    stream
        .write_all(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = [0; 39];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 Connection established\r\n\r\n");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(cloud.ca_file()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut tls = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    tls.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut said = String::new();
    let _ = tls.read_to_string(&mut said).await;
    said
}

#[tokio::test]
async fn only_hosts_that_exist() {
    let desk = Desk::new().await;
    for host in [
        "evilvault.azure.net:443",
        "other.vault.azure.net:443",
        "acme-kv.vault.azure.net:444",
        "127.0.0.1:443",
    ] {
        let said = raw(&desk.cloud, &format!("CONNECT {host} HTTP/1.1\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 502 "), "{host}: {said}");
    }
    assert_eq!(desk.cloud.count("*", "connect-refused"), 4);
    assert_eq!(
        desk.cloud.count("evilvault.azure.net", "connect-refused"),
        1
    );
    assert!(
        client(&desk.cloud)
            .get("https://example.com/")
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );
    let known = client(&desk.cloud)
        .get("https://ACME-kv.vault.azure.net/keys/x")
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), 401);
}

#[tokio::test]
async fn plain_http_is_refused_and_seen() {
    let desk = Desk::new().await;
    let response = client(&desk.cloud)
        .post("http://acme-kv.vault.azure.net/keys/x?y=1")
        .body("z")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 403);
    let call = desk.cloud.calls().pop().unwrap();
    assert_eq!(
        (
            call.operation.as_str(),
            call.host.as_str(),
            call.method.as_str()
        ),
        ("plain-http", HOST, "POST")
    );
    assert_eq!(
        (call.path.as_str(), call.query.as_deref(), call.status),
        ("/keys/x", Some("y=1"), 403)
    );
    assert_eq!(raw(&desk.cloud, "rubbish\r\n\r\n").await, "");
    assert_eq!(raw(&desk.cloud, "CONNECT a:443 SPDY\r\n\r\n").await, "");
}

#[tokio::test]
async fn paths_are_not_cleaned() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    for path in [
        "/keys/../secrets/x",
        "/keys/../secrets/x//wrapkey",
        "/keys/./x",
        "/keys/%2e%2e/secrets/x",
    ] {
        let head = format!(
            "POST {path}?api-version=7.6 HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}"
        );
        let said = inside(&desk.cloud, HOST, &format!("{head}\r\nContent-Length: 0")).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{path}: {said}");
        assert!(
            said.contains("The request URI contains an invalid name"),
            "{said}"
        );
        let call = desk.cloud.calls().pop().unwrap();
        assert_eq!(
            (call.path.as_str(), call.operation.as_str(), call.status),
            (path, "other", 400)
        );
    }
}

#[tokio::test]
async fn the_host_asked_for_is_the_host_answered() {
    let desk = Desk::new().await;
    let other = desk.cloud.vault("other", &desk.dir).host();
    for header in [format!("\r\nHost: {other}"), String::new()] {
        let said = inside(&desk.cloud, HOST, &format!("GET /keys/x HTTP/1.1{header}")).await;
        assert!(
            said.starts_with("HTTP/1.1 421 ") || said.starts_with("HTTP/1.1 400 "),
            "{said}"
        );
    }
    let said = inside(
        &desk.cloud,
        HOST,
        &format!("GET /keys/x HTTP/1.1\r\nHost: {HOST}:443"),
    )
    .await;
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
}

#[tokio::test]
async fn the_environment_of_a_process() {
    let desk = Desk::new().await;
    let env: std::collections::HashMap<_, _> = desk.cloud.env().into_iter().collect();
    assert_eq!(env["HTTPS_PROXY"], desk.cloud.proxy_url());
    assert_eq!(env["HTTP_PROXY"], desk.cloud.proxy_url());
    assert_eq!(env["NO_PROXY"], "127.0.0.1,localhost,::1");
    assert_eq!(
        env["AZURE_POD_IDENTITY_AUTHORITY_HOST"],
        desk.cloud.imds_url()
    );
    assert!(
        std::fs::read_to_string(&env["SSL_CERT_FILE"])
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
}
