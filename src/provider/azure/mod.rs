//! Azure Key Vault and Managed HSM. Nothing of Azure's words or types leaves this folder but as a
//! failure, a wrapped key or an identity for people to read.

mod choose;
mod classify;
mod connect;
mod credential;
mod endpoint;
mod federation;
mod foreign;
pub mod keyref;
mod kms;
mod plan;
mod source;
mod subject;
mod token;
mod transport;

pub use super::answer::is_guid;
pub use connect::Azure;
pub use subject::quoted;
