//! Handshakes on loopback, by a client that trusts one authority.

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::ca::authority::Authority;
use super::*;
use crate::clock::{Moment, SystemClock};
use crate::server::agent::start::measure;
use crate::server::metrics::Metrics;

const NAME: &str = "agent.ns.svc";

fn now() -> Timestamp {
    SystemClock.now().timestamp()
}

/// A certificate and its key in PEM, as cert-manager mounts them, with the CA that issued them.
struct Issued {
    authority: String,
    certificate: String,
    key: String,
}

impl Issued {
    fn new(until: Timestamp) -> Self {
        let authority: Authority = ca::mint::authority(now()).expect("a CA");
        let key = authority.key.expect("a key");
        let key = rcgen::KeyPair::from_pem(&key).expect("a key");
        let issuer = rcgen::Issuer::from_ca_cert_pem(&authority.certificate, key).expect("a CA");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
        let seconds = u64::try_from(until.as_second()).expect("after 1970");
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
        Self {
            authority: authority.certificate,
            certificate,
            key: key.serialize_pem(),
        }
    }

    fn fresh() -> Self {
        Self::new(now() + jiff::SignedDuration::from_hours(24))
    }

    fn write(&self, folder: &Path) {
        std::fs::write(folder.join("tls.crt"), &self.certificate).expect("write");
        std::fs::write(folder.join("tls.key"), &self.key).expect("write");
    }
}

fn options(folder: &Path) -> options::Paths {
    options::Paths {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    }
}

async fn certificates(folder: &Path, clock: Arc<dyn Clock>) -> Certificates {
    let (held, fault) = files::follow(options(folder), clock).await;
    let config = Arc::new(config(held.clone()).expect("a configuration"));
    Certificates {
        held,
        fault,
        config,
    }
}

/// Answers each byte with itself, on every connection.
async fn echo(config: Arc<ServerConfig>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("bound");
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn client(authority: &str, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

type Connection = TlsStream<TcpStream>;

async fn connect(
    address: std::net::SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).expect("a name");
    let mut stream = TlsConnector::from(config.clone())
        .connect(name, stream)
        .await?;
    speak(&mut stream).await?;
    Ok(stream)
}

async fn speak(stream: &mut Connection) -> std::io::Result<()> {
    stream.write_u8(7).await?;
    stream.flush().await?;
    assert_eq!(stream.read_u8().await?, 7);
    Ok(())
}

#[tokio::test]
async fn a_new_certificate_is_served_while_old_connections_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let (one, two) = (Issued::fresh(), Issued::fresh());
    one.write(folder.path());
    let certificates = certificates(folder.path(), Arc::new(SystemClock)).await;
    assert!(certificates.ready() && certificates.until() > Some(now()));
    let address = echo(certificates.config()).await;
    let (first, second) = (
        client(&one.authority, &rustls::version::TLS13),
        client(&two.authority, &rustls::version::TLS13),
    );
    let mut old = connect(address, &first).await.expect("trusted");
    assert!(connect(address, &second).await.is_err(), "not issued yet");

    two.write(folder.path());
    let mut held = certificates.held.clone();
    held.mark_unchanged();
    held.changed().await.expect("read again");
    connect(address, &second)
        .await
        .expect("the new certificate");
    speak(&mut old).await.expect("goes on");
    let stranger = client(&one.authority, &rustls::version::TLS13);
    assert!(
        connect(address, &stranger).await.is_err(),
        "the old one is gone"
    );
}

#[tokio::test]
async fn who_comes_back_resumes_and_both_versions_are_spoken() {
    let folder = tempfile::tempdir().expect("folder");
    let issued = Issued::fresh();
    issued.write(folder.path());
    let certificates = certificates(folder.path(), Arc::new(SystemClock)).await;
    let address = echo(certificates.config()).await;
    for (version, spoken) in [
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let client = client(&issued.authority, version);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = connect(address, &client).await.expect("trusted");
            let (_, session) = stream.get_ref();
            assert_eq!(session.handshake_kind(), Some(kind), "{spoken:?}");
            assert_eq!(session.protocol_version(), Some(spoken));
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_pair_changes_nothing_and_is_told_once() {
    let folder = tempfile::tempdir().expect("folder");
    let (one, two) = (Issued::fresh(), Issued::fresh());
    one.write(folder.path());
    let certificates = certificates(folder.path(), Arc::new(SystemClock)).await;
    let mut fault = certificates.fault();
    let held = certificates.held.clone();

    // Half of a new pair.
    std::fs::write(folder.path().join("tls.crt"), &two.certificate).expect("write");
    fault.changed().await.expect("a fault");
    let told = fault.borrow_and_update().clone().expect("a fault");
    assert!(
        told.contains("does not belong") && told.contains("openssl"),
        "{told}"
    );
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!fault.has_changed().expect("open"), "told once");

    std::fs::remove_file(folder.path().join("tls.key")).expect("remove");
    fault.changed().await.expect("another fault");
    let told = fault.borrow_and_update().clone().expect("a fault");
    assert!(told.contains("cannot be read"), "{told}");
    assert!(!held.has_changed().expect("open") && certificates.ready());

    two.write(folder.path());
    fault.changed().await.expect("mended");
    assert_eq!(*fault.borrow(), None);
    assert!(held.has_changed().expect("open"));
}

/// A clock that a test sets.
struct Hands(std::sync::Mutex<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Moment {
        let seconds = self.0.lock().expect("one thread").as_second();
        let wall = Duration::from_secs(u64::try_from(seconds).expect("after 1970"));
        Moment { boot: wall, wall }
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_nobody_renewed_is_told_when_it_ends() {
    let folder = tempfile::tempdir().expect("folder");
    let issued = Issued::fresh();
    issued.write(folder.path());
    let clock = Arc::new(Hands(std::sync::Mutex::new(now())));
    let certificates = certificates(folder.path(), clock.clone()).await;
    let mut fault = certificates.fault();
    *clock.0.lock().expect("one thread") = certificates.until().expect("an end");
    fault.changed().await.expect("a fault");
    let told = fault.borrow().clone().expect("a fault");
    assert!(told.contains("has expired"), "{told}");
    assert!(certificates.ready(), "better this than none");
}

#[tokio::test(start_paused = true)]
async fn its_end_and_its_faults_are_in_the_metrics() {
    let folder = tempfile::tempdir().expect("folder");
    let from = now();
    let end = |hours| from + jiff::SignedDuration::from_hours(hours);
    let (one, two) = (Issued::new(end(24)), Issued::new(end(48)));
    one.write(folder.path());
    let certificates = certificates(folder.path(), Arc::new(SystemClock)).await;
    let first = certificates.until().expect("an end").as_second();
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    tokio::spawn(measure(certificates.clone(), metrics.clone()));
    let shown = async |end: i64, fault: u8| {
        let end = format!("tenantkms_agent_certificate_expiry_timestamp_seconds {end}\n");
        let fault = format!("tenantkms_agent_certificate_fault {fault}\n");
        let shown = async {
            loop {
                let text = metrics.text().expect("text");
                if text.contains(&end) && text.contains(&fault) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let shown = tokio::time::timeout(Duration::from_secs(20), shown).await;
        assert!(shown.is_ok(), "no {end}{fault}");
    };
    shown(first, 0).await;
    std::fs::write(folder.path().join("tls.crt"), "x").expect("write");
    shown(first, 1).await;
    two.write(folder.path());
    shown(first + 24 * 3600, 0).await;
}

/// Why there is no certificate.
async fn refusal(folder: &Path) -> String {
    let certificates = certificates(folder, Arc::new(SystemClock)).await;
    assert!(!certificates.ready() && certificates.until().is_none());
    certificates.fault().borrow().clone().expect("a fault")
}

#[tokio::test]
async fn what_does_not_hold_is_refused_at_the_start() {
    let (good, other) = (Issued::fresh(), Issued::fresh());
    let past = Issued::new(now() - jiff::SignedDuration::from_secs(1));
    let refused = async |certificate: &str, key: &str| {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("tls.crt"), certificate).expect("write");
        std::fs::write(folder.path().join("tls.key"), key).expect("write");
        refusal(folder.path()).await
    };
    for (certificate, key, words) in [
        (&*good.certificate, &*other.key, "does not belong to"),
        (&past.certificate, &past.key, "has expired at"),
        ("", &good.key, "the certificate is not PEM"),
        ("hunter2", &good.key, "the certificate is not PEM"),
        (&good.key, &good.key, "the certificate is not PEM"),
        (&good.certificate, "hunter2", "the private key is not PEM"),
        (
            &good.certificate,
            &good.certificate,
            "the private key is not PEM",
        ),
        (
            &good.certificate.replace('M', "A"),
            &good.key,
            "the certificate",
        ),
    ] {
        let told = refused(certificate, key).await;
        assert!(told.contains(words), "{words}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let large = refused(&good.certificate, &"x".repeat(65 * 1024)).await;
    assert!(large.contains("it is over 64 KiB"), "{large}");
    let folder = tempfile::tempdir().expect("folder");
    let absent = refusal(folder.path()).await;
    assert!(absent.contains("tls.crt cannot be read"), "{absent}");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_at_the_start_is_served_when_it_holds() {
    let folder = tempfile::tempdir().expect("folder");
    Issued::fresh().write(folder.path());
    let late = now() + jiff::SignedDuration::from_hours(25);
    let clock = Arc::new(Hands(std::sync::Mutex::new(late)));
    let mut certificates = certificates(folder.path(), clock.clone()).await;
    let mut fault = certificates.fault();
    assert!(fault.borrow_and_update().is_some() && !certificates.ready());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!fault.has_changed().expect("open"), "told once");

    // The same files: the clock was wrong.
    *clock.0.lock().expect("one thread") = now();
    let mended = tokio::time::timeout(Duration::from_secs(20), certificates.held.changed());
    mended.await.expect("in time").expect("a certificate");
    assert!(certificates.ready());
    fault.changed().await.expect("mended");
    assert_eq!(*fault.borrow(), None);
}

/// What the operator issues itself: for its names only, in time, and no longer than its CA holds.
#[tokio::test]
async fn an_issued_certificate_is_believed_by_who_trusts_the_authority() {
    let from = now();
    let issuer = ca::mint::authority(from).expect("a CA");
    let names = [NAME, "10.0.0.1"].map(String::from);
    let pair = ca::mint::leaf(&issuer, &names, from).expect("issued");
    assert_eq!(
        pair.until(),
        from + jiff::SignedDuration::from_hours(7 * 24)
    );
    let late = issuer.validity.until - jiff::SignedDuration::from_hours(1);
    let last = ca::mint::leaf(&issuer, &names, late).expect("issued");
    assert_eq!(last.until(), issuer.validity.until);

    let (_pairs, held) = watch::channel(Some(pair));
    let address = echo(Arc::new(config(held).expect("a configuration"))).await;
    let knows = client(&issuer.certificate, &rustls::version::TLS13);
    connect(address, &knows).await.expect("trusted");
    let other = ca::mint::authority(now()).expect("a CA");
    let stranger = client(&other.certificate, &rustls::version::TLS13);
    assert!(connect(address, &stranger).await.is_err());

    let (_pairs, none) = watch::channel(None);
    let address = echo(Arc::new(config(none).expect("a configuration"))).await;
    assert!(
        connect(address, &knows).await.is_err(),
        "no certificate yet"
    );
}
