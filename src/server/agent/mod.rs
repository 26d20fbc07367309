//! The agent API: sessions, and the use of a tenant's keys with them. Every replica serves it.

mod access;
pub mod body;
pub mod error;
pub mod limits;
pub mod openapi;
mod operations;
mod room;
pub mod start;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::timeout;

use self::access::Visitor;
pub use self::access::bearer;
use self::body::MOST_BODY;
use self::error::{Error, Kind};
use self::limits::Limiter;
use self::room::{Place, Room};
use crate::controller::context::Context;
use crate::server::metrics::Metrics;
use crate::server::reviews::{Reviews, Right};
use crate::session::Caller;

/// For a whole call, its body included.
const DEADLINE: Duration = Duration::from_secs(10);
/// A session is asked for with a name.
const MOST_SESSION_BODY: usize = 4 * 1024;
/// For a body to arrive: who is slower holds room that others wait for.
const ARRIVAL: Duration = Duration::from_secs(3);
/// What is read of a body that is refused, and for how long.
const MOST_DRAINED: usize = 4 * MOST_BODY;
const DRAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Session,
    Encrypt,
    Decrypt,
    DataKey,
    Rewrap,
}

impl Operation {
    pub const ALL: [Self; 5] = [
        Self::Session,
        Self::Encrypt,
        Self::Decrypt,
        Self::DataKey,
        Self::Rewrap,
    ];

    fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.path() == path)
    }

    pub const fn path(self) -> &'static str {
        match self {
            Self::Session => "/agent/v1/session",
            Self::Encrypt => "/agent/v1/encrypt",
            Self::Decrypt => "/agent/v1/decrypt",
            Self::DataKey => "/agent/v1/data-key",
            Self::Rewrap => "/agent/v1/rewrap",
        }
    }

    /// As a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::DataKey => "data_key",
            Self::Rewrap => "rewrap",
        }
    }

    const fn most(self) -> usize {
        match self {
            Self::Session => MOST_SESSION_BODY,
            _ => MOST_BODY,
        }
    }
}

/// Whole, before its first byte is sent.
pub type Answer = Response<Full<Bytes>>;

/// What a call brings along.
struct Shown<'a> {
    operation: Operation,
    headers: &'a HeaderMap,
    body: &'a mut Limited<Incoming>,
}

/// To use a tenant's keys here, and to take one away.
const USE: [Right; 1] = [Right::Session];
const TAKE_AWAY: [Right; 2] = [Right::Session, Right::DataKey];

pub struct Agent {
    ctx: Arc<Context>,
    reviews: Reviews,
    limits: Limiter,
    room: Room,
    /// Apart: whoever has rights on a tenant does not wait for those who have none.
    lobby: Room,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Agent {
    pub fn new(ctx: Arc<Context>) -> Self {
        Self {
            reviews: Reviews::new(ctx.client.clone(), ctx.clock.clone()),
            limits: Limiter::new(ctx.policy.clone(), ctx.clock.clone()),
            room: Room::for_data(),
            lobby: Room::for_sessions(),
            metrics: ctx.metrics.clone(),
            ctx,
        }
    }

    /// Answers whatever comes over a connection.
    pub async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method(), request.uri().path());
        if path == openapi::PATH {
            return match *method {
                Method::GET | Method::HEAD => openapi::serve(),
                _ => not_allowed("GET"),
            };
        }
        match Operation::of(path) {
            Some(operation) if method == Method::POST => {
                self.operate(operation, peer, request).await
            }
            Some(_) => not_allowed("POST"),
            None => {
                let message = "There is nothing at this path; see GET /agent/v1/openapi.json.";
                Error::new(Kind::NotFound, message).answer()
            }
        }
    }

    async fn operate(
        &self,
        operation: Operation,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Answer {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let mut body = Limited::new(body, MOST_DRAINED);
        let served = self.serve(operation, peer, &parts.headers, &mut body);
        let served = timeout(DEADLINE, served).await;
        let served = served.unwrap_or_else(|_| Err(Error::busy()));
        // Who waits to be asked for the body has not sent it.
        if served.is_err() && !parts.headers.contains_key(header::EXPECT) {
            // Who still sends would find the connection broken, and never see why.
            let _ = timeout(DRAIN, drain(&mut body)).await;
        }
        let refused = served.as_ref().err().map(|error| error.kind);
        self.metrics
            .agent_request(operation, refused, started.elapsed());
        served.unwrap_or_else(Error::answer)
    }

    async fn serve(
        &self,
        operation: Operation,
        peer: IpAddr,
        headers: &HeaderMap,
        body: &mut Limited<Incoming>,
    ) -> Result<Answer, Error> {
        is_json(headers)?;
        // Nobody unknown gets a body read.
        let caller = self.caller(peer, headers).await?;
        let shown = Shown {
            operation,
            headers,
            body,
        };
        match operation {
            Operation::Session => {
                let namespace = caller.service_account().namespace.clone();
                let of = (&self.lobby, namespace);
                let (bytes, room) = self.body(shown, &caller, of).await?;
                json(&self.session(caller, &bytes).await?, room)
            }
            Operation::Encrypt => {
                let (visitor, bytes, room) = self.visit(shown, caller, &USE).await?;
                json(&self.encrypt(visitor, &bytes).await?, room)
            }
            Operation::Decrypt => {
                let (visitor, bytes, room) = self.visit(shown, caller, &USE).await?;
                json(&self.decrypt(visitor, &bytes).await?, room)
            }
            Operation::DataKey => {
                let (visitor, bytes, room) = self.visit(shown, caller, &TAKE_AWAY).await?;
                json(&self.data_key(visitor, &bytes).await?, room)
            }
            Operation::Rewrap => {
                let (visitor, bytes, room) = self.visit(shown, caller, &USE).await?;
                json(&self.rewrap(visitor, &bytes).await?, room)
            }
        }
    }

    /// Who may, with the session that is shown, and then the body.
    async fn visit(
        &self,
        shown: Shown<'_>,
        caller: Arc<Caller>,
        rights: &[Right],
    ) -> Result<(Visitor, Bytes, Place), Error> {
        let visitor = self.visitor(shown.headers, caller, rights).await?;
        let of = (&self.room, visitor.tenant().to_string());
        let (bytes, room) = self.body(shown, &visitor.caller, of).await?;
        Ok((visitor, bytes, room))
    }

    /// Reads the body, when the caller and its group have room for it.
    async fn body(
        &self,
        shown: Shown<'_>,
        caller: &Caller,
        (room, group): (&Room, String),
    ) -> Result<(Bytes, Place), Error> {
        let Shown {
            operation,
            headers,
            body,
        } = shown;
        let most = operation.most();
        let too_large = || {
            let message = format!("A body may have at most {most} bytes here.");
            Error::new(Kind::PayloadTooLarge, message)
        };
        let told = headers.get(header::CONTENT_LENGTH);
        let told = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let size = told.unwrap_or(most);
        if size > most {
            return Err(too_large());
        }
        let room = room.take(&caller.digest(), group, size).await;
        let room = room.ok_or_else(Error::busy)?;
        let arrived = timeout(ARRIVAL, Limited::new(body, most).collect()).await;
        let collected = arrived.map_err(|_| Error::late())?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large()
            } else {
                Error::invalid("The body ended too early.")
            }
        })?;
        Ok((collected.to_bytes(), room))
    }
}

async fn drain(body: &mut Limited<Incoming>) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn is_json(headers: &HeaderMap) -> Result<(), Error> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::new(
        Kind::UnsupportedMediaType,
        "The body must be JSON: set Content-Type: application/json.",
    ))
}

fn not_allowed(allowed: &'static str) -> Answer {
    let message = "This path does not take that method: see the header Allow.";
    let mut answer = Error::new(Kind::MethodNotAllowed, message).answer();
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(header::ALLOW, allowed);
    answer
}

/// An answer keeps the room of its request until the last byte of it is sent.
struct Sent {
    bytes: Vec<u8>,
    _room: Place,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Written into one buffer that is zeroized when it is freed, as all memory is.
fn json(answer: &impl Serialize, room: Place) -> Result<Answer, Error> {
    let bytes = serde_json::to_vec(answer).map_err(|_| Error::busy())?;
    let sent = Bytes::from_owner(Sent { bytes, _room: room });
    Ok(json_answer(StatusCode::OK, sent))
}

fn json_answer(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
