//! The operator's own identity: the service account of the node or pod, by the metadata server. Its token
//! is one for all tenants that use it, for a short while: the server is asked by one at a time, and nobody
//! waits for that who may use the one that is held.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::classify::{self, Service};
use super::source::SCOPE;
use super::token::Token;
use super::transport::Transport;
use crate::clock::{Clock, Moment, SystemClock};
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::http::receive;

const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";
/// The address is for hints alone, so nobody waits for it.
const EMAIL_DEADLINE: Duration = Duration::from_secs(1);
/// How long one is shared by tenants: the shortest `proofTTL` there is.
const SHARED: Duration = Duration::from_mins(1);
/// How old a fresh one may be. The server itself gives one token until minutes before its end, so that
/// asking more often tells nothing, and a thousand tenants that are denied must not ask for each of them.
pub const FRESH: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Machine {
    pub transport: Transport,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    held: Mutex<Option<Token>>,
    /// Of whoever fetches the next one.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}

impl Machine {
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            clock: Arc::new(SystemClock),
            shared: Arc::default(),
        }
    }

    /// A token of the operator itself; one of the last seconds when it must be `fresh`.
    pub async fn token(&self, fresh: bool, until: Instant) -> Result<Token, Failure> {
        let longest = if fresh { FRESH } else { SHARED };
        if let Some(held) = self.held(longest) {
            return Ok(held);
        }
        let token = async {
            let _turn = self.shared.turn.lock().await;
            // Whoever had the turn before may have brought one.
            if let Some(held) = self.held(longest) {
                return Ok(held);
            }
            let new = self.fetch(self.clock.now()).await?;
            *self.lock() = Some(new.clone());
            Ok(new)
        };
        let token = timeout_at(until, token).await;
        token.unwrap_or_else(|_| Err(classify::silent(Service::Metadata)))
    }

    fn held(&self, longest: Duration) -> Option<Token> {
        let now = self.clock.now();
        let held = self.lock();
        held.as_ref()
            .filter(|held| held.lasts(now, longest))
            .cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        let held = self.shared.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, now: Moment) -> Result<Token, Failure> {
        let wanted = format!("/token?scopes={SCOPE}");
        let (answer, seen) = tokio::join!(
            self.ask(&wanted),
            timeout(EMAIL_DEADLINE, self.ask("/email")),
        );
        let answer = answer?;
        if answer.status != 200 {
            return Err(classify::metadata(&answer));
        }
        let mut token = Token::of(&answer, now).ok_or_else(classify::strange_metadata)?;
        if let Ok(Ok(answer)) = seen
            && answer.status == 200
        {
            token.seen = email(answer.body());
        }
        Ok(token)
    }

    async fn ask(&self, path: &str) -> Result<Answer, Failure> {
        let url = format!("{}{ACCOUNT}{path}", self.transport.metadata_origin);
        let request = self.transport.metadata.get(url);
        let sent = request.header("metadata-flavor", "Google").send().await;
        let answer = receive(sent)
            .await
            .map_err(|trouble| classify::trouble(trouble, Service::Metadata))?;
        // Anybody may answer at a plain address; the real one says who it is.
        if answer.header("metadata-flavor") != Some("Google") {
            return Err(classify::strange_metadata());
        }
        Ok(answer)
    }
}

/// It stands in messages, so it must look like an address.
fn email(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_@".contains(&b);
    let sound = (3..=253).contains(&text.len()) && text.contains('@') && text.bytes().all(plain);
    sound.then(|| text.to_owned())
}

#[cfg(test)]
pub mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;
    use crate::clock::tests::Hand;

    /// A metadata server on a port of its own, and a machine that asks it.
    pub struct Server {
        pub machine: Machine,
        pub clock: Arc<Hand>,
        tokens: Arc<AtomicUsize>,
        /// Whether it answers.
        answers: watch::Sender<bool>,
    }

    impl Server {
        pub async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let origin = format!("http://{}", listener.local_addr().expect("an address"));
            let (answers, answering) = watch::channel(true);
            let tokens = Arc::new(AtomicUsize::new(0));
            let counted = tokens.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, counted.clone(), answering.clone()));
                }
            });
            let transport = Transport {
                metadata_origin: origin,
                ..Transport::from_environment().expect("clients")
            };
            let clock = Arc::new(Hand::default());
            let machine = Machine {
                transport,
                clock: clock.clone(),
                shared: Arc::default(),
            };
            Self {
                machine,
                clock,
                tokens,
                answers,
            }
        }

        async fn token(&self, fresh: bool) -> Result<Token, Failure> {
            let until = Instant::now() + Duration::from_secs(30);
            self.machine.token(fresh, until).await
        }

        fn asked(&self) -> usize {
            self.tokens.load(Ordering::SeqCst)
        }
    }

    async fn serve(
        mut stream: TcpStream,
        tokens: Arc<AtomicUsize>,
        mut answering: watch::Receiver<bool>,
    ) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        let body = if String::from_utf8_lossy(&request).contains("/token?") {
            let number = tokens.fetch_add(1, Ordering::SeqCst);
            format!("{{\"access_token\":\"t{number}\",\"expires_in\":3599}}")
        } else {
            "op@p.iam.gserviceaccount.com".to_owned()
        };
        answering.wait_for(|now| *now).await.expect("a test");
        let head = format!(
            "HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = [head.as_bytes(), body.as_bytes()].concat();
        stream.write_all(&answer).await.expect("a client");
    }

    #[tokio::test]
    async fn a_thousand_denied_tenants_ask_once_for_all() {
        let server = Server::new().await;
        server.token(false).await.expect("a token");
        server.clock.forward(FRESH);
        let fresh = futures::future::join_all((0..1_000).map(|_| server.token(true))).await;
        assert!(fresh.iter().all(Result::is_ok));
        assert_eq!(server.asked(), 2);
        server.clock.forward(SHARED);
        server.token(false).await.expect("a token");
        assert_eq!(server.asked(), 3);
    }

    #[tokio::test]
    async fn who_may_use_what_is_held_waits_for_nobody() {
        let server = Server::new().await;
        server.token(false).await.expect("a token");
        server.clock.forward(FRESH);
        server.answers.send_replace(false);
        let (fresh, held) = tokio::join!(server.token(true), async {
            while server.asked() < 2 {
                tokio::task::yield_now().await;
            }
            let held = timeout(Duration::from_secs(10), server.token(false)).await;
            server.answers.send_replace(true);
            held
        });
        held.expect("at once").expect("a token");
        fresh.expect("a token");
    }

    #[test]
    fn an_address_in_a_message_has_a_harmless_form() {
        assert_eq!(
            email(b"op@p.iam.gserviceaccount.com\n").as_deref(),
            Some("op@p.iam.gserviceaccount.com")
        );
        for bad in [&b"default"[..], b"a@b'; rm", b"", b"\xff@b"] {
            assert_eq!(email(bad), None);
        }
    }
}
