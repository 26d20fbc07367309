//! The one way out to Azure: no redirects, answers of at most 64 KiB, every wait bounded, idle
//! connections dropped soon. The metadata service has a client of its own that knows no proxy.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request, request::Body};

use crate::credentials::IMDS_HOST_VARIABLE;
use crate::lock::lock;
use crate::provider::answer::{Answer, Trouble};
use crate::provider::http::{NoClient, bounded, receive};

const IMDS: &str = "http://169.254.169.254";

/// Clients to the clouds and to the node's metadata service.
#[derive(Clone, Debug)]
pub struct Transport {
    /// No connection to a vault is kept: its buffers hold the master key that came over it last.
    vault: reqwest::Client,
    entra: reqwest::Client,
    metadata: reqwest::Client,
    /// Scheme, host and port.
    imds: url::Url,
    /// `AZURE_AUTHORITY_HOST`, for endpoints that are none of Azure's own.
    authority: Option<String>,
}

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
            vault: bounded()
                .https_only(true)
                .pool_max_idle_per_host(0)
                .build()
                .map_err(|_| NoClient)?,
            entra: bounded().https_only(true).build().map_err(|_| NoClient)?,
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

    /// For Key Vault's own client.
    pub(super) fn for_vault(&self) -> azure_core::http::Transport {
        sdk(self.vault.clone(), None, None)
    }

    /// For a credential that asks Entra; what it gets to hear is kept in `heard`.
    pub(super) fn for_entra(&self, heard: &Arc<Heard>) -> azure_core::http::Transport {
        sdk(self.entra.clone(), Some(heard.clone()), None)
    }

    /// For a credential that asks the node's metadata service, wherever that is.
    pub(super) fn for_metadata(&self, heard: &Arc<Heard>) -> azure_core::http::Transport {
        let imds = Some(self.imds.clone());
        sdk(self.metadata.clone(), Some(heard.clone()), imds)
    }
}

fn sdk(
    client: reqwest::Client,
    heard: Option<Arc<Heard>>,
    base: Option<url::Url>,
) -> azure_core::http::Transport {
    azure_core::http::Transport::new(Arc::new(SdkClient {
        client,
        heard,
        base,
    }))
}

/// The last answer to a credential, or the trouble in place of one.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Option<Result<Answer, Trouble>>>);

impl Heard {
    fn put(&self, what: Result<Answer, Trouble>) {
        *lock(&self.0) = Some(what);
    }

    pub(super) fn take(&self) -> Option<Result<Answer, Trouble>> {
        lock(&self.0).take()
    }
}

/// The SDK's requests, sent our way.
struct SdkClient {
    client: reqwest::Client,
    heard: Option<Arc<Heard>>,
    /// Scheme, host and port in place of the request's: the SDK has the metadata service's
    /// address built in.
    base: Option<url::Url>,
}

impl fmt::Debug for SdkClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SdkClient")
    }
}

impl SdkClient {
    fn outgoing(&self, request: &Request) -> Result<reqwest::Request, Trouble> {
        let method = match request.method() {
            Method::Post => reqwest::Method::POST,
            Method::Get => reqwest::Method::GET,
            _ => return Err(Trouble::Unsendable),
        };
        let mut url = request.url().clone();
        if let Some(base) = &self.base {
            let mut moved = base.clone();
            moved.set_path(url.path());
            moved.set_query(url.query());
            url = moved;
        }
        let mut outgoing = self.client.request(method, url);
        for (name, value) in request.headers().iter() {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        let Body::Bytes(body) = request.body().clone() else {
            return Err(Trouble::Unsendable);
        };
        outgoing.body(body).build().map_err(|_| Trouble::Unsendable)
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Trouble> {
        receive(self.client.execute(self.outgoing(request)?).await).await
    }
}

#[async_trait]
impl HttpClient for SdkClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let exchanged = self.exchange(request).await;
        if let Some(heard) = &self.heard {
            match &exchanged {
                Err(trouble) => heard.put(Err(*trouble)),
                // A refusal ends here: the SDK would ask the metadata service for 72 s more.
                Ok(answer) if answer.status != 200 => {
                    heard.put(exchanged);
                    return Err(failed(Trouble::Unheard));
                }
                Ok(_) => {}
            }
        }
        let answer = exchanged.map_err(failed)?;
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
