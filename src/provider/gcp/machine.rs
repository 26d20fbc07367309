//! The operator's own identity: the service account of the node or pod, by the metadata server. Its token
//! is one for all tenants that use it, for a short while: the server is asked by one at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
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

#[derive(Clone)]
pub struct Machine {
    transport: Transport,
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Option<Token>>>,
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

    /// A token of the operator itself; a new one when it must be `fresh`.
    pub async fn token(&self, fresh: bool, until: Instant) -> Result<Token, Failure> {
        let token = async {
            let mut shared = self.shared.lock().await;
            let now = self.clock.now();
            if let (false, Some(known)) = (fresh, shared.as_ref())
                && known.lasts(now, SHARED)
            {
                return Ok(known.clone());
            }
            let new = self.fetch(now).await?;
            Ok(shared.insert(new).clone())
        };
        let token = timeout_at(until, token).await;
        token.unwrap_or_else(|_| Err(classify::silent(Service::Metadata)))
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
mod tests {
    use super::*;

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
