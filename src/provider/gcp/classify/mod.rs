//! From an answer of Google to what it means. Pure: status and body in, one [`Failure`] out, in the
//! operator's own words. A denial is only what is listed here as one.
//!
//! [`Failure`]: crate::provider::Failure

mod api;
mod iam;
mod kms;
mod metadata;
mod sts;
#[cfg(test)]
mod tests;
mod trouble;

pub use iam::iam;
pub use kms::{Operation, changed_on_the_way, foreign_version, kms};
pub use metadata::{metadata, strange as strange_metadata};
pub use sts::sts;
pub use trouble::{distrusted, silent, trouble};

use super::transport::{IAM, KMS, STS};

/// Which service was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Kms,
    Sts,
    Iam,
    Metadata,
}

impl Service {
    /// Its host, where it has a fixed one.
    const fn host(self) -> &'static str {
        match self {
            Self::Kms => KMS,
            Self::Sts => STS,
            Self::Iam => IAM,
            Self::Metadata => "the metadata server",
        }
    }
}
