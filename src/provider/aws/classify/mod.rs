//! From what AWS said to what it means. Pure: an answer in, one [`Failure`] out, in the operator's own
//! words. A denial is only what is listed here as one.
//!
//! [`Failure`]: crate::provider::Failure

mod kms;
mod own;
mod sts;
mod trouble;

pub use kms::{Operation, is_of_session, kms};
pub use own::{metadata, reach as reach_metadata, web_identity as own_web_identity};
pub use sts::{opens_to_anybody, sts};
pub use trouble::{Service, trouble};

#[cfg(test)]
mod tests;
