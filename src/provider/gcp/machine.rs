//! The operator's own identity: the service account of the node or pod, by the metadata server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::classify::{self, Service};
use super::source::SCOPE;
use super::token::Token;
use super::transport::Transport;
use crate::clock::{Moment, SystemClock};
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::http::receive;
use crate::provider::shared::Shared;

const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";
/// The address is for hints alone, so nobody waits for it.
const EMAIL_DEADLINE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Machine {
    pub transport: Transport,
    shared: Shared<Token>,
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
            shared: Shared::new(Arc::new(SystemClock)),
        }
    }

    pub fn now(&self) -> Moment {
        self.shared.now()
    }

    /// A token of the operator itself, fetched `since` then or shortly before.
    pub async fn token(&self, since: Option<Moment>, until: Instant) -> Result<Token, Failure> {
        let silent = || classify::silent(Service::Metadata);
        let fetch = || self.clone().fetch();
        let token = timeout_at(until, self.shared.get(since, fetch, silent)).await;
        token.unwrap_or_else(|_| Err(silent()))
    }

    async fn fetch(self) -> Result<(Token, Duration), Failure> {
        let now = self.now();
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
        let usable = token.usable();
        Ok((token, usable))
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

    use super::*;
    use crate::clock::Clock;
    use crate::clock::tests::Hand;
    use crate::provider::shared::{FRESH, LONGEST};

    /// A metadata server on a port of its own, and a machine that asks it.
    pub struct Server {
        pub machine: Machine,
        pub clock: Arc<Hand>,
        tokens: Arc<AtomicUsize>,
    }

    impl Server {
        pub async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let origin = format!("http://{}", listener.local_addr().expect("an address"));
            let tokens = Arc::new(AtomicUsize::new(0));
            let counted = tokens.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, counted.clone()));
                }
            });
            let transport = Transport {
                metadata_origin: origin,
                ..Transport::from_environment().expect("clients")
            };
            let clock = Arc::new(Hand::default());
            let machine = Machine {
                transport,
                shared: Shared::new(clock.clone()),
            };
            Self {
                machine,
                clock,
                tokens,
            }
        }

        async fn token(&self, since: Option<Moment>) -> Result<Token, Failure> {
            let until = Instant::now() + Duration::from_secs(30);
            self.machine.token(since, until).await
        }

        fn asked(&self) -> usize {
            self.tokens.load(Ordering::SeqCst)
        }
    }

    async fn serve(mut stream: TcpStream, tokens: Arc<AtomicUsize>) {
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
        server.token(None).await.expect("a token");
        server.clock.forward(FRESH);
        let denied = Some(server.clock.now());
        let fresh = futures::future::join_all((0..1_000).map(|_| server.token(denied))).await;
        assert!(fresh.iter().all(Result::is_ok));
        assert_eq!(server.asked(), 2);
        server.clock.forward(LONGEST);
        server.token(None).await.expect("a token");
        assert_eq!(server.asked(), 3);
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
