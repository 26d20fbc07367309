//! The ledger of every request that reached the cloud, in order of arrival: what tests count, wait for and search.
//! A call is written when it arrives, so one that hangs is seen too; it never holds a body or a token.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::watch;

use crate::world::lock;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// The host asked for, for instance `acme-kv.vault.azure.net`; IMDS is `169.254.169.254`, and
    /// GCP's `metadata.google.internal`.
    pub host: String,
    pub method: String,
    /// As sent: neither cleaned nor decoded.
    pub path: String,
    pub query: Option<String>,
    /// `token`, `openid-configuration`, `instance-discovery`, `jwks`; `challenge`, `wrapkey`, `unwrapkey`, `getkey`,
    /// `other`; `imds-token`; `assume-role`, `assume-role-with-web-identity`, `caller-identity`; `encrypt`,
    /// `decrypt`, `describe-key`; `imds-session`, `imds-role`, `imds-credentials`, `pod-identity`; `sts-token`,
    /// `generateAccessToken`, `getCryptoKey`, `metadata-token`, `metadata-account`; `connect`, `connect-refused`,
    /// `plain-http`.
    pub operation: String,
    /// Object id of the caller (AWS: ARN of its role or user; GCP: its name in IAM), when the request says who it is
    /// and that is true.
    pub principal: Option<String>,
    /// Directory (tenant) id; AWS: account; GCP: the key or the provider.
    pub tenant: Option<String>,
    /// Application (client) id; AWS: the role session's name; GCP: the service account that is impersonated.
    pub app: Option<String>,
    /// 0 until answered, and for ever when the connection was left hanging or reset.
    pub status: u16,
    /// `x-ms-request-id` or `x-amzn-requestid` of the answer.
    pub request_id: Option<String>,
    pub at: SystemTime,
    #[serde(skip, default = "Instant::now")]
    pub instant: Instant,
}

impl Call {
    /// Whether host and operation are these; `*` is any.
    pub fn is(&self, host: &str, operation: &str) -> bool {
        (host == "*" || self.host.eq_ignore_ascii_case(host))
            && (operation == "*" || self.operation == operation)
    }
}

#[derive(Debug)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Book {
    calls: Vec<Call>,
    /// Which life of the list: a reset makes tickets of the old one void.
    life: u64,
    issued: Vec<String>,
    known: HashSet<String>,
}

/// Where to write the answer of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    life: u64,
    index: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            book: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Ledger {
    pub(crate) fn arrived(&self, call: Call) -> Ticket {
        let ticket = {
            let mut book = lock(&self.book);
            book.calls.push(call);
            Ticket {
                life: book.life,
                index: book.calls.len() - 1,
            }
        };
        self.changed.send_replace(());
        ticket
    }

    /// Written before the answer leaves, so a client that has its answer finds it counted.
    pub(crate) fn answered(&self, ticket: Ticket, status: u16, request_id: Option<&str>) {
        {
            let mut book = lock(&self.book);
            if book.life == ticket.life
                && let Some(call) = book.calls.get_mut(ticket.index)
            {
                call.status = status;
                call.request_id = request_id.map(str::to_owned);
            }
        }
        self.changed.send_replace(());
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        lock(&self.book).calls.clone()
    }

    pub(crate) fn count(&self, host: &str, operation: &str) -> usize {
        lock(&self.book)
            .calls
            .iter()
            .filter(|call| call.is(host, operation))
            .count()
    }

    pub(crate) fn reset(&self) {
        let mut book = lock(&self.book);
        book.calls.clear();
        book.life += 1;
    }

    /// The first call that `filter` accepts, past ones included.
    pub(crate) async fn wait(
        &self,
        filter: impl Fn(&Call) -> bool,
        within: Duration,
    ) -> Option<Call> {
        let mut changed = self.changed.subscribe();
        let found = async {
            loop {
                changed.mark_unchanged();
                let found = lock(&self.book)
                    .calls
                    .iter()
                    .find(|call| filter(call))
                    .cloned();
                if found.is_some() || changed.changed().await.is_err() {
                    return found;
                }
            }
        };
        tokio::time::timeout(within, found).await.ok().flatten()
    }

    /// Remembers a value that must appear nowhere outside the exchange it belongs to.
    pub(crate) fn secret(&self, value: &str) {
        let mut book = lock(&self.book);
        if !value.is_empty() && book.known.insert(value.to_owned()) {
            book.issued.push(value.to_owned());
        }
    }

    pub(crate) fn issued(&self) -> Vec<String> {
        lock(&self.book).issued.clone()
    }
}
