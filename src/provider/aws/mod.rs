//! AWS KMS: symmetric keys by ARN or alias, reached with the operator's own identity, with a role that it
//! assumes, or with a role that a `ServiceAccount` of the tenant assumes.

mod classify;
mod connect;
mod endpoint;
pub mod keyref;
mod kms;
mod means;
mod own;
mod plan;
mod said;
mod sts;
mod subject;
mod transport;

pub use connect::Aws;
