//! From an answer of Azure to what it means. Pure: status, headers and body in, one [`Failure`]
//! out, in the operator's own words. A denial is only what is listed here as one.
//!
//! [`Failure`]: crate::provider::Failure

mod entra;
mod imds;
mod trouble;
mod vault;

pub use entra::entra;
pub use imds::{imds, reach as reach_imds};
pub use trouble::{silent, trouble};
pub use vault::{Operation, unusable, vault};

/// Which service was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Vault,
    Entra,
    Imds,
}

#[cfg(test)]
mod tests;
