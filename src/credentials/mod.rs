//! Where the operator's and the tenants' credentials come from. A secret is read when it is used,
//! only after the policy allowed it, and has no way into a message, a log or a `Debug`.

pub mod cluster;
pub mod identity;
mod rights;
pub mod secret;

pub use cluster::Cluster;
pub use identity::{AzureIdentity, IMDS_HOST_VARIABLE};
pub use rights::quoted;
pub use rights::{APPLY, Lent, subject};
pub use secret::{Secret, SecretSource};
