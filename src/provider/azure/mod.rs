//! Azure Key Vault and Managed HSM. Nothing of Azure's words or types leaves this folder but as a
//! failure, a wrapped key or an identity for people to read.

mod answer;
mod choose;
mod classify;
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

pub use federation::Own;
pub use plan::{Plan, plan};
pub use subject::quoted;
pub use transport::Transport;

/// 8-4-4-4-12 hexadecimal digits.
pub fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
