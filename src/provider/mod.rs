//! What every key service must do, and the proof that it does. One folder per vendor; a vendor's
//! types, words and codes never leave its folder.

#[cfg(feature = "azure")]
pub mod azure;
mod cache;
pub mod connect;
pub mod explain;
pub mod failure;
pub mod probe;
mod tenant;

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use connect::Providers;
pub use failure::{Code, Failure, Kind};
pub use probe::{Proved, probe};
pub use tenant::TenantId;

/// Bytes wrapped by a KEK, with the version that wrapped them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    pub ciphertext: Vec<u8>,
    /// The version of the customer's key, as the provider names it.
    pub kek_version: String,
}

/// One tenant's key, reached with one credential.
#[async_trait]
pub trait Kms: Send + Sync {
    /// Wraps with the version the spec names, or else the current one.
    async fn wrap(&self, plaintext: &Zeroizing<Vec<u8>>) -> Result<Wrapped, Failure>;

    /// Unwraps with exactly the version that wrapped.
    async fn unwrap(&self, wrapped: &Wrapped) -> Result<Zeroizing<Vec<u8>>, Failure>;

    /// The key's canonical id, the same for every spelling of one key. A claim is on this.
    fn key_id(&self) -> &str;

    /// The credential in use, for people: never a secret.
    fn identity(&self) -> &str;
}
