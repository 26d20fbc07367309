//! What every key service must do, and the proof that it does. One folder per vendor; a vendor's
//! types, words and codes never leave its folder.

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod answer;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "azure")]
pub mod azure;
mod cache;
mod cloud;
pub mod connect;
pub mod explain;
pub mod failure;
#[cfg(feature = "gcp")]
pub mod gcp;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod http;
pub mod local;
pub mod probe;
#[cfg(any(feature = "aws", feature = "gcp"))]
mod shared;
mod tenant;

use async_trait::async_trait;
use jiff::Timestamp;
use zeroize::Zeroizing;

pub use connect::{Connect, Providers};
pub use failure::{Code, Failure, Kind};
pub use probe::{Proved, probe};
pub use tenant::{Anchor, TenantId, external_id, length_prefixed};

/// Bytes wrapped by a KEK, with the version that wrapped them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    pub ciphertext: Vec<u8>,
    /// The version of the customer's key, as the provider names it.
    pub kek_version: String,
}

/// What a key service says of a key beside its use. What it does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub expires: Option<Expiry>,
    pub purgeable: Option<Purgeable>,
    pub moved: Option<Moved>,
}

/// When the key's use ends, and the command that gives it more time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub at: Timestamp,
    pub command: String,
}

/// The name by which a spec names the key names another one now; the command that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub to: String,
    pub command: String,
}

/// A deleted key can be destroyed for good before its retention ends; the command that forbids it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purgeable {
    pub command: String,
}

/// One tenant's key, reached with one credential.
#[async_trait]
pub trait Kms: Send + Sync {
    /// Wraps with the version the spec names, or else the current one. Where the service can bind
    /// what it wraps, it is bound to `tenant_uid` and opens for no other.
    async fn wrap(
        &self,
        tenant_uid: &str,
        plaintext: &Zeroizing<Vec<u8>>,
    ) -> Result<Wrapped, Failure>;

    /// Unwraps with exactly the version that wrapped.
    async fn unwrap(
        &self,
        tenant_uid: &str,
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, Failure>;

    /// Unwraps what somebody else wrapped with this key, to take it over: never part of a proof.
    /// `algorithm` is in the provider's words; without `kek_version`, the version the spec names.
    async fn unwrap_foreign(
        &self,
        algorithm: &str,
        kek_version: Option<&str>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let _ = (algorithm, kek_version, ciphertext);
        Err(Failure::misconfigured(
            crate::api::Reason::ProviderNotBuilt,
            "This provider takes over no key that was wrapped elsewhere. Remove \
             spec.masterKey.importFrom: kubectl edit tkms '<name>' --namespace '<namespace>'",
        ))
    }

    /// What the service says of the key; `None` where it says nothing. Never part of a proof: a
    /// refusal here is none of the key's use.
    async fn attributes(&self) -> Result<Option<Attributes>, Failure> {
        Ok(None)
    }

    /// The key's canonical id, the same for every spelling of one key. A claim is on this.
    fn key_id(&self) -> &str;

    /// The credential in use, for people: never a secret.
    fn identity(&self) -> &str;

    /// Whether the key belongs to one namespace, as a customer's does: then it is claimed for the
    /// first that proves it, and refused to any other. The one place that decides it.
    fn is_exclusive(&self) -> bool {
        true
    }
}
