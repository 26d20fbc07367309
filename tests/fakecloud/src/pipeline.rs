//! From a request to its answer: read it, write it in the ledger, apply a fault, ask the service, answer. The same
//! for every service behind the proxy and for IMDS; what a service says is not decided here.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::calls::Call;
use crate::effects::Effect;
use crate::http::{Answer, Asked};
use crate::services;
use crate::socket::Reset;
use crate::world::World;

/// The services take small JSON and form bodies only.
const MAX_BODY: usize = 1 << 20;

type Reply = Response<BoxBody<Bytes, io::Error>>;

/// Who asks and for what, as far as the request itself proves it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) operation: String,
    pub(crate) principal: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) app: Option<String>,
}

impl Seen {
    pub(crate) fn operation(operation: &str) -> Self {
        Self {
            operation: operation.to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn call(self, asked: &Asked) -> Call {
        Call {
            host: asked.host.clone(),
            method: asked.method.to_string(),
            path: asked.path.clone(),
            query: asked.query.clone(),
            operation: self.operation,
            principal: self.principal,
            tenant: self.tenant,
            app: self.app,
            status: 0,
            request_id: None,
            at: SystemTime::now(),
            instant: Instant::now(),
        }
    }
}

/// Serves HTTP/1.1 for `host` on an open connection until it ends.
pub(crate) async fn serve(
    world: Arc<World>,
    host: String,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    reset: Reset,
) {
    let service = hyper::service::service_fn(|request| {
        let (world, host, reset) = (world.clone(), host.clone(), reset.clone());
        async move { exchange(&world, host, request, &reset).await }
    });
    // An error here is the client's hang-up or a fault's doing; both are in the ledger.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn exchange(
    world: &World,
    host: String,
    request: Request<Incoming>,
    reset: &Reset,
) -> io::Result<Reply> {
    let mut asked = read(host, request).await?;
    let (seen, service) = services::prepare(world, &asked);
    let call = seen.call(&asked);
    let ticket = world.calls.arrived(call.clone());
    let effect = world.faults.hit(&call);
    match &effect {
        Some(Effect::Hang) => std::future::pending().await,
        Some(Effect::Reset | Effect::UntrustedCertificate) => {
            reset.arm();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Effect::Latency(delay)) => tokio::time::sleep(*delay).await,
        _ => {}
    }
    let answer = if let Some(answer) = effect.as_ref().and_then(Effect::replacement) {
        answer
    } else {
        if let Some(effect) = &effect {
            effect.corrupt(&mut asked);
        }
        let answer = service(world, &asked);
        effect
            .as_ref()
            .map_or(answer.clone(), |effect| effect.rewrite(answer))
    };
    let request_id = answer
        .header("x-ms-request-id")
        .or_else(|| answer.header("x-amzn-requestid"));
    world.calls.answered(ticket, answer.status, request_id);
    Ok(reply(answer, matches!(effect, Some(Effect::Truncate))))
}

async fn read(host: String, request: Request<Incoming>) -> io::Result<Asked> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    Ok(Asked {
        host,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
    })
}

fn reply(answer: Answer, truncate: bool) -> Reply {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        builder = builder.header(name, value);
    }
    let body = if truncate {
        builder = builder.header("content-length", answer.body.len());
        half(&answer.body)
    } else {
        Full::new(answer.body)
            .map_err(|never: Infallible| match never {})
            .boxed()
    };
    builder
        .body(body)
        .expect("faults and services write valid header names and values")
}

/// The first half of a body, then the end of the connection in the middle of it.
fn half(body: &Bytes) -> BoxBody<Bytes, io::Error> {
    let first = stream::iter([Ok(Frame::data(body.slice(..body.len() / 2)))]);
    let end = stream::once(async {
        // hyper flushes what it holds while a body has nothing to say, and drops it when a body fails.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::ErrorKind::UnexpectedEof.into())
    });
    BodyExt::boxed(StreamBody::new(first.chain(end)))
}
