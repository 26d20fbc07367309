//! The one way to the operator: HTTPS to one base URL, trusting one CA file, no proxy, no redirect,
//! answers of bounded size. Both files are read at each use: the kubelet replaces them.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use url::Url;
use zeroize::Zeroizing;

use super::Options;
use super::error::{Error, Kind};
use crate::lock::lock;

const SESSION: HeaderName = HeaderName::from_static("x-session-token");
const CONNECT: Duration = Duration::from_secs(3);
/// Shorter than the operator keeps a connection without requests.
const IDLE: Duration = Duration::from_secs(20);
const MAX_FILE: u64 = 1024 * 1024;
/// A plaintext of 512 KiB, or 100 rewrapped items, with room to spare.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

pub(super) struct Transport {
    base: Url,
    token_file: PathBuf,
    ca_file: PathBuf,
    trust: Mutex<Option<Trust>>,
    patience: Duration,
}

/// The content of the CA file, and the client that trusts it; `None` when it is no bundle.
struct Trust {
    pem: Vec<u8>,
    client: reqwest::Client,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("base", &self.base.as_str())
            .field("token_file", &self.token_file)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

impl Transport {
    pub fn new(options: &Options) -> Result<Self, Error> {
        let mut base = Url::parse(&options.url).ok().filter(|url| {
            let bare = url.query().is_none() && url.fragment().is_none();
            let nobody = url.username().is_empty() && url.password().is_none();
            url.scheme() == "https" && url.has_host() && bare && nobody
        });
        if let Some(base) = base.as_mut().filter(|base| !base.path().ends_with('/')) {
            base.set_path(&format!("{}/", base.path()));
        }
        let base = base.ok_or_else(|| {
            let why = "the base URL must be https://HOST[:PORT], without user, query or fragment, \
                       such as https://tenant-kms-operator-agent.tenant-kms-system.svc";
            Error::new(Kind::InvalidRequest, why.to_owned())
        })?;
        Ok(Self {
            base,
            token_file: options.token_file.clone(),
            ca_file: options.ca_file.clone(),
            trust: Mutex::default(),
            patience: options.deadline / 2,
        })
    }

    /// The body of the answer 200. It is waited for half of a call's deadline, so that a replica that
    /// hangs leaves time to ask another.
    pub async fn post(
        &self,
        path: &str,
        session: Option<&str>,
        body: Bytes,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let exchange = self.exchange(path, session, body);
        let answer = tokio::time::timeout(self.patience, exchange).await;
        answer.unwrap_or_else(|_| Err(Error::late(self.patience)))
    }

    async fn exchange(
        &self,
        path: &str,
        session: Option<&str>,
        body: Bytes,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (token, ca) = self.files().await?;
        let url = self.base.join(path).map_err(|_| Error::not_understood())?;
        let mut request = self
            .trusting(ca)?
            .post(url)
            .header(AUTHORIZATION, bearer(&token, &self.token_file)?)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(session) = session {
            request = request.header(SESSION, secret(session).ok_or_else(Error::not_understood)?);
        }
        let sent = request.body(body).send().await;
        let mut response = sent.map_err(|error| self.trouble(&error))?;
        let (status, wait) = (response.status().as_u16(), retry_after(&response));
        let mut answer = Zeroizing::new(Vec::new());
        let announced = response.content_length().unwrap_or_default();
        loop {
            if announced.max(answer.len() as u64) > MAX_ANSWER as u64 {
                let why = format!("the operator's answer is over {MAX_ANSWER} bytes");
                return Err(Error::new(Kind::AnswerTooLarge, why));
            }
            let chunk = response.chunk().await;
            match chunk.map_err(|error| self.trouble(&error))? {
                Some(chunk) => append(&mut answer, &chunk),
                None if status == 200 => return Ok(answer),
                None => return Err(Error::of_answer(status, wait, &answer)),
            }
        }
    }

    /// The token and the CA bundle as they are now.
    async fn files(&self) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), Error> {
        let (token_file, ca_file) = (self.token_file.clone(), self.ca_file.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut ca = read(&ca_file)?;
            Ok((read(&token_file)?, std::mem::take(&mut *ca)))
        });
        reading.await.unwrap_or_else(|_| {
            let why = "the process is ending".to_owned();
            Err(Error::new(Kind::Unreachable, why))
        })
    }

    /// The client that trusts `pem`. A bundle that is none changes nothing: who was trusted stays
    /// trusted, and it is told.
    fn trusting(&self, pem: Vec<u8>) -> Result<reqwest::Client, Error> {
        let mut trust = lock(&self.trust);
        if let Some(trust) = trust.as_ref().filter(|trust| trust.pem == pem) {
            return Ok(trust.client.clone());
        }
        match (client(&pem), trust.as_mut()) {
            (Some(client), _) => {
                let made = client.clone();
                *trust = Some(Trust { pem, client });
                Ok(made)
            }
            (None, Some(trust)) => {
                let path = self.ca_file.display();
                tracing::warn!(%path, "no bundle of certificates; the previous one stays trusted");
                trust.pem = pem;
                Ok(trust.client.clone())
            }
            (None, None) => Err(Error::new(
                Kind::FileUnreadable,
                format!(
                    "{} is no bundle of certificates in PEM. Mount key ca.crt of the ConfigMap \
                     tenant-kms-ca there",
                    self.ca_file.display()
                ),
            )),
        }
    }

    /// Holds nothing that a peer sent.
    fn trouble(&self, error: &reqwest::Error) -> Error {
        if matches!(tls(error), Some(rustls::Error::InvalidCertificate(_))) {
            let why = format!(
                "the certificate of {} is not for that name or not by an authority of {}. After a \
                 change of the authority it passes within two minutes; else compare the file with: \
                 kubectl get configmap tenant-kms-ca --output yaml",
                self.base,
                self.ca_file.display()
            );
            return Error::new(Kind::CertificateNotTrusted, why);
        }
        let why = if error.is_connect() {
            "cannot be connected to"
        } else {
            "broke the connection before its answer was whole"
        };
        let check = "Check URL and NetworkPolicy, and: kubectl get pods --all-namespaces --selector \
                     app.kubernetes.io/name=tenant-kms-operator";
        let why = format!("{} {why}. {check}", self.base);
        Error::new(Kind::Unreachable, why)
    }
}

/// What TLS says, however often it is wrapped: an `io::Error` leaves out of its sources what it wraps.
fn tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(tls) = cause.downcast_ref() {
            return Some(tls);
        }
        let io = cause.downcast_ref::<std::io::Error>();
        cause = match io.and_then(std::io::Error::get_ref) {
            Some(wrapped) => wrapped,
            None => cause.source()?,
        };
    }
}

fn client(pem: &[u8]) -> Option<reqwest::Client> {
    let authorities = reqwest::Certificate::from_pem_bundle(pem).ok()?;
    if authorities.is_empty() {
        return None;
    }
    let client = reqwest::Client::builder()
        .user_agent(concat!("tenant-kms-client/", env!("CARGO_PKG_VERSION")))
        .tls_certs_only(authorities)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .retry(reqwest::retry::never());
    client.build().ok()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let unreadable = |why: String| {
        let why = format!("{} {why}. Check the volume that holds it", path.display());
        Error::new(Kind::FileUnreadable, why)
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(format!("cannot be read: {}", error.kind())))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unreadable("is over 1 MiB".to_owned()));
    }
    Ok(bytes)
}

fn bearer(token: &[u8], path: &Path) -> Result<HeaderValue, Error> {
    let token = std::str::from_utf8(token).unwrap_or_default().trim();
    let header = Zeroizing::new(format!("Bearer {token}"));
    let header = secret(&header).filter(|_| !token.is_empty());
    header.ok_or_else(|| {
        let why = format!("{} holds no token. Check the volume", path.display());
        Error::new(Kind::FileUnreadable, why)
    })
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Grows without leaving a copy behind.
fn append(bytes: &mut Zeroizing<Vec<u8>>, more: &[u8]) {
    let length = bytes.len() + more.len();
    if length > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(more);
}
