//! The one way out to Azure: no redirects, answers of at most 64 KiB, every wait bounded, idle
//! connections dropped soon. The metadata service has a client of its own that knows no proxy.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request, request::Body};

use super::answer::{Answer, Trouble};
use crate::credentials::IMDS_HOST_VARIABLE;

const CONNECT: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(10);
/// Long enough for the unwrap after a wrap, too short to hold a connection per vault.
const IDLE: Duration = Duration::from_secs(3);
const MAX_ANSWER: usize = 64 * 1024;
const IMDS: &str = "http://169.254.169.254";

/// Clients to the clouds and to the node's metadata service.
#[derive(Clone, Debug)]
pub struct Transport {
    cloud: reqwest::Client,
    metadata: reqwest::Client,
    /// Scheme, host and port.
    imds: url::Url,
    /// `AZURE_AUTHORITY_HOST`, for endpoints that are none of Azure's own.
    authority: Option<String>,
}

/// A TLS client could not be made, or a variable holds no URL.
#[derive(Clone, Copy, Debug)]
pub struct NoClient;

impl Transport {
    /// Proxies and authorities of certificates follow `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and
    /// `SSL_CERT_FILE`; the metadata service follows `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub fn from_environment() -> Result<Self, NoClient> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let imds = variable(IMDS_HOST_VARIABLE);
        let imds = url::Url::parse(imds.as_deref().unwrap_or(IMDS)).map_err(|_| NoClient)?;
        if !matches!(imds.scheme(), "http" | "https") || !imds.has_host() {
            return Err(NoClient);
        }
        let authority = variable(super::endpoint::AUTHORITY_VARIABLE);
        if authority
            .as_ref()
            .is_some_and(|text| !text.starts_with("https://"))
        {
            return Err(NoClient);
        }
        Ok(Self {
            cloud: bounded().https_only(true).build().map_err(|_| NoClient)?,
            metadata: bounded()
                .no_proxy()
                .pool_max_idle_per_host(0)
                .build()
                .map_err(|_| NoClient)?,
            imds,
            authority,
        })
    }

    pub(super) fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Sends to an https host of a cloud.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Trouble> {
        let request = request.build().map_err(|_| Trouble::Unsendable)?;
        receive(self.cloud.execute(request).await).await
    }

    pub(super) fn post(&self, url: &str) -> reqwest::RequestBuilder {
        self.cloud.post(url)
    }

    /// Asks the node's metadata service.
    pub(super) async fn metadata(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, Trouble> {
        let mut url = self.imds.clone();
        url.set_path(path);
        url.query_pairs_mut().clear().extend_pairs(query);
        let request = self.metadata.get(url).header("Metadata", "true");
        let request = request.build().map_err(|_| Trouble::Unsendable)?;
        receive(self.metadata.execute(request).await).await
    }

    pub(super) fn for_sdk(&self) -> azure_core::http::Transport {
        azure_core::http::Transport::new(Arc::new(SdkClient(self.cloud.clone())))
    }
}

fn bounded() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("tenant-kms-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .retry(reqwest::retry::never())
}

async fn receive(sent: reqwest::Result<reqwest::Response>) -> Result<Answer, Trouble> {
    let mut response = sent.map_err(|error| Trouble::of(&error))?;
    if response
        .content_length()
        .is_some_and(|length| length > MAX_ANSWER as u64)
    {
        return Err(Trouble::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| Trouble::of(&error))?
    {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Trouble::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer::new(
        response.status().as_u16(),
        response.headers(),
        body,
    ))
}

/// The SDK's requests, sent the same way.
struct SdkClient(reqwest::Client);

impl fmt::Debug for SdkClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SdkClient")
    }
}

#[async_trait]
impl HttpClient for SdkClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let method = match request.method() {
            Method::Post => reqwest::Method::POST,
            Method::Get => reqwest::Method::GET,
            _ => return Err(failed(Trouble::Unsendable)),
        };
        let mut outgoing = self.0.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        let Body::Bytes(body) = request.body().clone() else {
            return Err(failed(Trouble::Unsendable));
        };
        let outgoing = outgoing.body(body).build();
        let outgoing = outgoing.map_err(|_| failed(Trouble::Unsendable))?;
        let answer = receive(self.0.execute(outgoing).await)
            .await
            .map_err(failed)?;
        let mut headers = Headers::new();
        for (name, value) in answer.headers() {
            headers.insert(
                HeaderName::from(name.to_owned()),
                HeaderValue::from(value.to_owned()),
            );
        }
        Ok(AsyncRawResponse::from_bytes(
            answer.status.into(),
            headers,
            answer.into_body(),
        ))
    }
}

/// As an error that no policy of the SDK retries.
fn failed(trouble: Trouble) -> Error {
    Error::new(ErrorKind::Other, trouble)
}
