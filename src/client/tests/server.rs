//! A strict loopback operator: HTTPS with an authority of its own, every request checked whole, and
//! answers that a test may put in the place of the usual ones.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::client::{Client, Options};
use crate::clock::{Clock, Moment};

pub const TOKEN: &str = "eyJ.hunter2-of-the-pod.sig";
pub const TTL: u64 = 300;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub token: String,
    pub session: Option<String>,
}

/// What a test wants instead of the usual answer.
pub enum Reply {
    Refuse(u16, &'static str, Option<u64>),
    /// Whatever status, header and body.
    Raw(u16, Option<(&'static str, &'static str)>, Body),
    Hang,
    /// The usual answer, once there is a permit.
    Held(Arc<Semaphore>),
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    replies: HashMap<String, VecDeque<Reply>>,
    /// The token of a session that is over.
    ended: Option<String>,
    tls: Option<TlsAcceptor>,
    connections: JoinSet<()>,
    sessions: u32,
}

pub struct Server {
    address: SocketAddr,
    folder: TempDir,
    state: Arc<Mutex<State>>,
}

/// Follows tokio's clock, which a test moves by hand.
struct Hands(tokio::time::Instant);

impl Clock for Hands {
    fn now(&self) -> Moment {
        let boot = self.0.elapsed();
        let wall = Duration::from_hours(500_000) + boot;
        Moment { boot, wall }
    }
}

/// Moves the clock; network and files go on in their own time.
pub async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Waits for a condition that the network brings about.
pub async fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let server = Self {
            address: listener.local_addr().expect("address"),
            folder: tempfile::tempdir().expect("folder"),
            state: Arc::default(),
        };
        let authority = server.certify();
        server.write("ca.crt", &authority);
        server.write("token", TOKEN);
        let state = server.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = state.clone();
                let mut state = lock(&state);
                let tls = state.tls.clone().expect("a certificate");
                state.connections.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| answer(shared.clone(), request));
                    let serving = http1::Builder::new();
                    let _ = serving
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        server
    }

    /// A certificate by a new authority, in the place of any before; open connections are cut.
    pub fn certify(&self) -> String {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = params.self_signed(&key).expect("CA").pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("leaf");
        let leaf = leaf.signed_by(&key, &issuer).expect("leaf");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .expect("certificate");
        let mut state = lock(&self.state);
        state.tls = Some(TlsAcceptor::from(Arc::new(tls)));
        state.connections.abort_all();
        authority
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).expect("write");
    }

    pub fn client(&self) -> Client {
        let options = Options {
            url: format!("https://{}", self.address),
            token_file: self.path("token"),
            ca_file: self.path("ca.crt"),
            ..Options::default()
        };
        let clock = Hands(tokio::time::Instant::now());
        Client::with_clock(options, Arc::new(clock)).expect("options")
    }

    /// The next request to `operation` without one is answered so.
    pub fn reply(&self, operation: &str, reply: Reply) {
        let mut state = lock(&self.state);
        let replies = state.replies.entry(operation.to_owned()).or_default();
        replies.push_back(reply);
    }

    /// From now on this session is refused.
    pub fn end(&self, session: &str) {
        lock(&self.state).ended = Some(session.to_owned());
    }

    pub fn seen(&self, operation: &str) -> Vec<Seen> {
        let path = format!("/agent/v1/{operation}");
        let seen = lock(&self.state).seen.clone().into_iter();
        seen.filter(|seen| seen.path == path).collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test panics here")
}

type Answer = http::Response<Body>;

async fn answer(
    state: Arc<Mutex<State>>,
    request: http::Request<hyper::body::Incoming>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name: &str| Some(head.headers.get(name)?.to_str().expect("text").to_owned());
    let path = head.uri.path().to_owned();
    let token = header("authorization").unwrap_or_default();
    let body = to_bytes(Body::new(body), 1024 * 1024).await.expect("whole");
    assert_eq!(head.method, "POST");
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    let seen = Seen {
        path: path.clone(),
        token: token.strip_prefix("Bearer ").expect("bearer").to_owned(),
        session: header("x-session-token"),
    };
    let operation = path.strip_prefix("/agent/v1/").expect("path").to_owned();
    assert_eq!(seen.session.is_none(), operation == "session");
    let reply = {
        let mut state = lock(&state);
        let over = seen.session.is_some() && seen.session == state.ended;
        state.seen.push(seen);
        let replies = state.replies.get_mut(&operation);
        let wanted = replies.and_then(VecDeque::pop_front);
        let refused = over.then_some(Reply::Refuse(401, "session_invalid", None));
        wanted.or(refused)
    };
    match reply {
        None => {}
        Some(Reply::Hang) => std::future::pending().await,
        Some(Reply::Held(gate)) => gate.acquire().await.expect("open").forget(),
        Some(Reply::Refuse(status, kind, wait)) => {
            let error = json!({ "error": { "type": kind, "message": format!("told: {kind}") } });
            let mut refusal = raw(status, error.to_string().into());
            if let Some(wait) = wait {
                refusal.headers_mut().insert("retry-after", wait.into());
            }
            return Ok(refusal);
        }
        Some(Reply::Raw(status, header, body)) => {
            let mut answer = raw(status, body);
            if let Some((name, value)) = header {
                let value = http::HeaderValue::from_static(value);
                answer.headers_mut().insert(name, value);
            }
            return Ok(answer);
        }
    }
    let body: Map<String, Value> = serde_json::from_slice(&body).expect("an object");
    Ok(raw(200, usual(&state, &operation, body).to_string().into()))
}

fn raw(status: u16, body: Body) -> Answer {
    let mut answer = Answer::new(body);
    *answer.status_mut() = status.try_into().expect("status");
    answer
}

/// Takes exactly these fields.
fn fields<const N: usize>(mut body: Map<String, Value>, names: [&str; N]) -> [Value; N] {
    let values = names.map(|name| body.remove(name).unwrap_or_default());
    assert!(body.is_empty(), "unknown: {body:?}");
    values
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    STANDARD.decode(text).expect("base64")
}

/// A ciphertext is `aad|plaintext`, turned round.
fn usual(state: &Mutex<State>, operation: &str, body: Map<String, Value>) -> Value {
    let encrypted = |plaintext: &[u8], aad: &[u8]| {
        let mut all = [aad, b"|", plaintext].concat();
        all.reverse();
        STANDARD.encode(all)
    };
    let opened = |ciphertext: &[u8], aad: &[u8]| -> Vec<u8> {
        let mut all = ciphertext.to_vec();
        all.reverse();
        let prefix = [aad, b"|"].concat();
        all.strip_prefix(&*prefix).expect("same aad").to_vec()
    };
    let key_id = "k1";
    match operation {
        "session" => {
            let [tenant] = fields(body, ["tenant"]);
            assert_eq!(tenant, "tenants/acme");
            let mut state = lock(state);
            state.sessions += 1;
            json!({
                "session_token": format!("tks1_hunter2-{}", state.sessions),
                "expires_at": "2027-01-15T08:05:00Z",
                "ttl_seconds": TTL, "renew_after_seconds": TTL * 4 / 5,
            })
        }
        "encrypt" => {
            let [plaintext, aad] = fields(body, ["plaintext", "aad"]).map(|v| bytes(&v));
            json!({ "ciphertext": encrypted(&plaintext, &aad), "key_id": key_id })
        }
        "decrypt" => {
            let [ciphertext, aad] = fields(body, ["ciphertext", "aad"]).map(|v| bytes(&v));
            let plaintext = STANDARD.encode(opened(&ciphertext, &aad));
            json!({
                "plaintext": plaintext, "key_id": key_id, "keep_until": "2027-01-15T08:05:00Z",
            })
        }
        "data-key" => {
            let [aad] = fields(body, ["aad"]).map(|v| bytes(&v));
            json!({
                "plaintext": STANDARD.encode([7; 32]), "ciphertext": encrypted(&[7; 32], &aad),
                "key_id": key_id, "keep_until": "2027-01-15T08:05:00Z",
            })
        }
        "rewrap" => {
            let [items] = fields(body, ["items"]);
            let items = items.as_array().expect("items").iter().map(|item| {
                let item = item.as_object().expect("item").clone();
                let [ciphertext, aad] = fields(item, ["ciphertext", "aad"]).map(|v| bytes(&v));
                if ciphertext.is_empty() {
                    let message = "no ciphertext of this tenant";
                    return json!({ "error": { "type": "ciphertext_invalid", "message": message } });
                }
                let again = encrypted(&opened(&ciphertext, &aad), &aad);
                json!({ "ciphertext": again, "key_id": "k2" })
            });
            json!({ "items": items.collect::<Vec<_>>() })
        }
        other => panic!("no such path: {other}"),
    }
}
