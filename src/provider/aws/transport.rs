//! The one way out to AWS, in place of the SDK's own connector: no redirects, answers of at most 64 KiB,
//! every wait bounded. The metadata service has a client of its own that knows no proxy.

use std::fmt;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use crate::provider::answer::{Answer, Trouble};
use crate::provider::http::{NoClient, bounded, receive};

/// Where the metadata service is, when not at its fixed address: the SDKs' usual variable.
pub const IMDS_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const IMDS: &str = "http://169.254.169.254";

/// Clients to the clouds and to what gives the pod its identity.
#[derive(Clone, Debug)]
pub struct Transport {
    /// No connection to KMS is kept: its buffers hold the master key that came over it last.
    kms: reqwest::Client,
    sts: reqwest::Client,
    pub metadata: reqwest::Client,
    /// Without a slash at its end.
    pub imds: String,
}

impl Transport {
    pub fn from_environment() -> Result<Self, NoClient> {
        let imds = std::env::var(IMDS_VARIABLE)
            .ok()
            .filter(|url| !url.is_empty());
        let imds = url::Url::parse(imds.as_deref().unwrap_or(IMDS)).map_err(|_| NoClient)?;
        if !matches!(imds.scheme(), "http" | "https") || !imds.has_host() {
            return Err(NoClient);
        }
        let unpooled = || bounded().pool_max_idle_per_host(0);
        Ok(Self {
            kms: unpooled().https_only(true).build().map_err(|_| NoClient)?,
            sts: bounded().https_only(true).build().map_err(|_| NoClient)?,
            metadata: unpooled().no_proxy().build().map_err(|_| NoClient)?,
            imds: imds.as_str().trim_end_matches('/').to_owned(),
        })
    }

    pub fn for_kms(&self) -> SharedHttpClient {
        sdk(&self.kms)
    }

    pub fn for_sts(&self) -> SharedHttpClient {
        sdk(&self.sts)
    }
}

fn sdk(client: &reqwest::Client) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector(client.clone()));
    http_client_fn(move |_, _| connector.clone())
}

/// The SDK's requests, sent our way.
struct Connector(reqwest::Client);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let answer = exchange(&client, &request).await.and_then(incoming);
            // Of a kind that nothing retries; its cause is found again in the error's sources.
            answer.map_err(|trouble| ConnectorError::other(Box::new(trouble), None))
        })
    }
}

async fn exchange(client: &reqwest::Client, request: &HttpRequest) -> Result<Answer, Trouble> {
    if request.method() != "POST" {
        return Err(Trouble::Unsendable);
    }
    let body = request.body().bytes().ok_or(Trouble::Unsendable)?;
    let mut outgoing = client.post(request.uri()).body(body.to_vec());
    for (name, value) in request.headers() {
        outgoing = outgoing.header(name, value);
    }
    receive(outgoing.send().await).await
}

fn incoming(answer: Answer) -> Result<HttpResponse, Trouble> {
    let status = StatusCode::try_from(answer.status).map_err(|_| Trouble::Broken)?;
    let headers: Vec<(String, String)> = answer
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut response = HttpResponse::new(status, SdkBody::from(answer.into_body()));
    for (name, value) in headers {
        let appended = response.headers_mut().try_append(name, value);
        appended.map_err(|_| Trouble::Broken)?;
    }
    Ok(response)
}
