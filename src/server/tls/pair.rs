//! A certificate and the private key that belongs to it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why two texts are no certificate to serve with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the certificate is not PEM (-----BEGIN CERTIFICATE-----), or damaged")]
    Certificate,
    #[error(
        "the private key is not PEM (-----BEGIN PRIVATE KEY-----), protected by a password, damaged, or \
         of a kind that is not supported; RSA and ECDSA P-256 are"
    )]
    Key,
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    #[error("the certificate has expired at {0}")]
    Expired(Timestamp),
}

/// From when until when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Validity {
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let valid = parsed.validity();
        Some(Self {
            from: Timestamp::from_second(valid.not_before.timestamp()).ok()?,
            until: Timestamp::from_second(valid.not_after.timestamp()).ok()?,
        })
    }
}

/// What TLS is served with. The private key is in the TLS library's hands and has no way out.
#[derive(Clone)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pair = f.debug_struct("Pair");
        pair.field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Pair {
    /// From PEM: the certificate with its chain, and the key.
    pub fn read(certificates: &[u8], key: &[u8], now: Timestamp) -> Result<Self, Unfit> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Unfit::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Unfit::Key)?;
        let pair = Self::of(chain, key)?;
        if pair.validity.until <= now {
            return Err(Unfit::Expired(pair.validity.until));
        }
        Ok(pair)
    }

    pub fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Unfit> {
        let first = chain.first().ok_or(Unfit::Certificate)?;
        let validity = Validity::of(first).ok_or(Unfit::Certificate)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider());
        let key = key.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Unfit::Mismatch,
            Error::InvalidCertificate(_) => Unfit::Certificate,
            _ => Unfit::Key,
        })?;
        Ok(Self {
            key: Arc::new(key),
            validity,
        })
    }

    pub fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub fn until(&self) -> Timestamp {
        self.validity.until
    }
}
