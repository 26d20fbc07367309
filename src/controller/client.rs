//! The way to the API server.

use std::time::Duration;

use kube::Client;

/// A connection that waits for longer is given up; a watch is never silent for so long.
const SILENCE: Duration = Duration::from_secs(20);

/// A client for the API server that follows no proxy of the environment.
pub async fn client() -> Result<Client, ClientError> {
    let mut config = kube::Config::infer()
        .await
        .map_err(|error| ClientError::Config(Box::new(error)))?;
    // kube takes HTTPS_PROXY from the environment; clouds may need it, the API server never does
    // unless the kubeconfig names one.
    config.proxy_url = named_proxy()?;
    config.connect_timeout = Some(Duration::from_secs(5));
    // The first answer to a watch has no other deadline.
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(|error| ClientError::Client(Box::new(error)))
}

/// The proxy that the kubeconfig names for its current cluster.
fn named_proxy() -> Result<Option<http::Uri>, ClientError> {
    let Ok(kubeconfig) = kube::config::Kubeconfig::read() else {
        return Ok(None); // in the cluster
    };
    let context = kubeconfig.current_context.as_deref();
    let named = kubeconfig
        .contexts
        .iter()
        .find(|one| Some(one.name.as_str()) == context)
        .and_then(|one| one.context.as_ref())
        .and_then(|context| {
            kubeconfig
                .clusters
                .iter()
                .find(|one| one.name == context.cluster)
        })
        .and_then(|one| one.cluster.as_ref())
        .and_then(|cluster| cluster.proxy_url.as_deref());
    named
        .map(|url| url.parse().map_err(|_| ClientError::Proxy))
        .transpose()
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no way to the API server: {0}")]
    Config(#[source] Box<kube::config::InferConfigError>),
    #[error("the client for the API server could not be built: {0}")]
    Client(#[source] Box<kube::Error>),
    #[error("the proxy-url of the kubeconfig is not a URL")]
    Proxy,
}
