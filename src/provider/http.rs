//! Clients to every cloud and its metadata service: no redirects, answers of at most 64 KiB, every wait
//! bounded, idle connections dropped soon. Who may be asked is each provider's business.

use std::time::Duration;

use super::answer::{Answer, Trouble};

const CONNECT: Duration = Duration::from_secs(5);
/// Shorter than an attempt's own deadline, so that it can be told who did not answer.
const READ: Duration = Duration::from_secs(8);
/// Long enough for a second token, too short to hold a connection per directory.
const IDLE: Duration = Duration::from_secs(3);
const MAX_ANSWER: usize = 64 * 1024;

/// A TLS client could not be made, or a variable holds no URL.
#[derive(Clone, Copy, Debug)]
pub struct NoClient;

/// Proxies and authorities of certificates follow `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and
/// `SSL_CERT_FILE`.
pub fn bounded() -> reqwest::ClientBuilder {
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

/// The whole answer, if it is not too large.
pub async fn receive(sent: reqwest::Result<reqwest::Response>) -> Result<Answer, Trouble> {
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
