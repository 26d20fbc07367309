//! For workloads: a tenant's data, encrypted and decrypted by the operator while the customer agrees.
//! `docs/use-from-your-workload.md` is the guide, `examples/agent.rs` a whole workload.
//!
//! ```no_run
//! # async fn workload() -> Result<(), tenant_kms::client::Error> {
//! use tenant_kms::client::{Client, Options};
//!
//! let client = Client::new(Options {
//!     url: "https://tenant-kms-operator-agent.tenant-kms-system.svc".into(),
//!     token_file: "/var/run/tenant-kms/token".into(),
//!     ca_file: "/var/run/tenant-kms/ca.crt".into(),
//!     ..Options::default()
//! })?;
//! let sealed = client.encrypt("tenants/acme", b"a record", b"orders/17").await?;
//! let record = client.decrypt("tenants/acme", &sealed.bytes, b"orders/17").await?;
//! # Ok(())
//! # }
//! ```

mod data_key;
mod error;
mod sessions;
mod transport;
mod wire;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
pub use data_key::DataKey;
pub use error::{Backoff, Category, Error, Kind};
use sessions::{Session, Sessions, Shop};
use transport::Transport;
use wire::{DataKeyAnswer, DataKeyRequest, DecryptAnswer, DecryptRequest, EncryptAnswer};
use wire::{EncryptRequest, OpenDataKeyAnswer, RewrapAnswer, RewrapRequest, RewrappedItem};

/// What a client is made from.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's Service, `https://HOST[:PORT]`.
    pub url: String,
    /// A projected `ServiceAccount` token of audience `tenantkms.dev`; read at each use.
    pub token_file: PathBuf,
    /// `ca.crt` of the `ConfigMap` `tenant-kms-ca`; read at each use. Nobody else is trusted.
    pub ca_file: PathBuf,
    /// Of each call, with everything that it takes.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            deadline: Duration::from_secs(10),
        }
    }
}

/// What may be stored anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext {
    pub bytes: Vec<u8>,
    /// The master key that it needs; informative, it is in the bytes as well.
    pub key_id: String,
}

/// One ciphertext to be encrypted anew, with the additional data that it was made with.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub ciphertext: &'a [u8],
    pub aad: &'a [u8],
}

/// Copies share sessions and connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Sessions>);

impl Client {
    /// Sends nothing and reads no file.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::with_clock(options, Arc::new(SystemClock))
    }

    #[expect(clippy::needless_pass_by_value, reason = "options are given away")]
    fn with_clock(options: Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Ok(Self(Arc::new(Sessions::new(Shop {
            transport: Transport::new(&options)?,
            clock,
            deadline: options.deadline,
        }))))
    }

    /// Encrypts at most 512 KiB. `aad` (at most 8 KiB, may be empty) is not stored; the same must be
    /// given to decrypt: the place of a record, say, so that no record stands in for another.
    pub async fn encrypt(
        &self,
        tenant: &str,
        plaintext: &[u8],
        aad: &[u8],
    ) -> Result<Ciphertext, Error> {
        if plaintext.len() > wire::MAX_PLAINTEXT {
            return Err(wire::too_large("a plaintext is at most 512 KiB"));
        }
        let (plaintext, aad) = (wire::secret_text(plaintext), wire::aad(aad)?);
        let strings = plaintext.len() + length(aad.as_ref());
        let request = EncryptRequest {
            plaintext: &plaintext,
            aad,
        };
        let body = wire::body(&request, strings)?;
        let (answer, _) = self.call(tenant, "encrypt", body).await?;
        ciphertext(&parse(&answer)?)
    }

    /// The plaintext, overwritten when it is dropped.
    pub async fn decrypt(
        &self,
        tenant: &str,
        ciphertext: &[u8],
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (answer, _) = self.open(tenant, ciphertext, aad).await?;
        let answer = parse::<DecryptAnswer>(&answer)?;
        wire::secret_bytes(answer.plaintext).ok_or_else(Error::not_understood)
    }

    /// A new data key. Needs `create` on `tenantkmses/datakey` besides.
    pub async fn data_key(&self, tenant: &str, aad: &[u8]) -> Result<DataKey, Error> {
        let aad = wire::aad(aad)?;
        let strings = length(aad.as_ref());
        let body = wire::body(&DataKeyRequest { aad }, strings)?;
        let (answer, session) = self.call(tenant, "data-key", body).await?;
        let answer = parse::<DataKeyAnswer>(&answer)?;
        let sealed = ciphertext(&EncryptAnswer {
            ciphertext: answer.ciphertext,
            key_id: answer.key_id,
        })?;
        let clock = self.0.shop().clock.clone();
        DataKey::new(answer.plaintext, sealed, answer.keep_until, &session, clock)
    }

    /// A data key again, from the ciphertext that was stored beside the data: [`Client::decrypt`] that
    /// keeps to the time.
    pub async fn open_data_key(
        &self,
        tenant: &str,
        ciphertext: &[u8],
        aad: &[u8],
    ) -> Result<DataKey, Error> {
        let (answer, session) = self.open(tenant, ciphertext, aad).await?;
        let answer = parse::<OpenDataKeyAnswer>(&answer)?;
        let sealed = Ciphertext {
            bytes: ciphertext.to_vec(),
            key_id: answer.key_id.to_owned(),
        };
        let clock = self.0.shop().clock.clone();
        DataKey::new(answer.plaintext, sealed, answer.keep_until, &session, clock)
    }

    /// Encrypts at most 100 ciphertexts anew with the active master key, without showing their
    /// plaintexts; one outcome for each, in the same order.
    pub async fn rewrap(
        &self,
        tenant: &str,
        items: &[Item<'_>],
    ) -> Result<Vec<Result<Ciphertext, Error>>, Error> {
        if items.len() > wire::MAX_ITEMS {
            return Err(wire::too_large("a rewrap has at most 100 items"));
        }
        let items: Result<Vec<_>, _> = items
            .iter()
            .map(|one| item(one.ciphertext, one.aad))
            .collect();
        let request = RewrapRequest { items: items? };
        let strings = request.items.iter().map(|item| size(item) + 32).sum();
        let body = wire::body(&request, strings)?;
        let (answer, _) = self.call(tenant, "rewrap", body).await?;
        let answer = parse::<RewrapAnswer>(&answer)?;
        if answer.items.len() != request.items.len() {
            return Err(Error::not_understood());
        }
        let outcome = |item| match item {
            RewrappedItem::Done(done) => ciphertext(&done),
            RewrappedItem::Refused { error } => {
                Err(Error::of_refusal(&error).unwrap_or_else(Error::not_understood))
            }
        };
        Ok(answer.items.into_iter().map(outcome).collect())
    }

    async fn open(
        &self,
        tenant: &str,
        ciphertext: &[u8],
        aad: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Arc<Session>), Error> {
        let request = item(ciphertext, aad)?;
        let body = wire::body(&request, size(&request))?;
        self.call(tenant, "decrypt", body).await
    }

    /// The answer, and the session that it came by.
    async fn call(
        &self,
        tenant: &str,
        operation: &str,
        body: Bytes,
    ) -> Result<(Zeroizing<Vec<u8>>, Arc<Session>), Error> {
        let deadline = self.0.shop().deadline;
        let until = Instant::now() + deadline;
        let path = format!("agent/v1/{operation}");
        let attempts = self.attempts(tenant, &path, body, until);
        let answer = tokio::time::timeout_at(until, attempts).await;
        answer.unwrap_or_else(|_| Err(Error::late(deadline)))
    }

    /// Tries again what may pass before `until`, and once with a new session.
    async fn attempts(
        &self,
        tenant: &str,
        path: &str,
        body: Bytes,
        until: Instant,
    ) -> Result<(Zeroizing<Vec<u8>>, Arc<Session>), Error> {
        let slot = self.0.of(tenant);
        let transport = &self.0.shop().transport;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut new_session = true;
        loop {
            let error = match slot.session().await {
                Err(error) => error,
                Ok(session) => {
                    let sent = transport.post(path, Some(session.token()), body.clone());
                    match sent.await {
                        Ok(answer) => return Ok((answer, session)),
                        Err(error) if error.ends_session() => {
                            slot.forget(&session);
                            if std::mem::take(&mut new_session) {
                                continue;
                            }
                            error
                        }
                        Err(error) => error,
                    }
                }
            };
            let pause = backoff.after(&error);
            if !error.may_pass_soon() || Instant::now() + pause >= until {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(|_| Error::not_understood())
}

fn ciphertext(answer: &EncryptAnswer) -> Result<Ciphertext, Error> {
    let bytes = STANDARD.decode(answer.ciphertext);
    Ok(Ciphertext {
        bytes: bytes.map_err(|_| Error::not_understood())?,
        key_id: answer.key_id.to_owned(),
    })
}

fn item(ciphertext: &[u8], aad: &[u8]) -> Result<DecryptRequest, Error> {
    Ok(DecryptRequest {
        ciphertext: STANDARD.encode(ciphertext),
        aad: wire::aad(aad)?,
    })
}

fn size(item: &DecryptRequest) -> usize {
    item.ciphertext.len() + length(item.aad.as_ref())
}

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}
