//! AWS KMS: symmetric keys by ARN or alias, reached with the operator's own identity, with a role that it
//! assumes, or with a role that a `ServiceAccount` of the tenant assumes.

mod classify;
mod connect;
mod endpoint;
mod keyref;
mod kms;
mod means;
mod own;
mod plan;
mod said;
mod sts;
mod subject;
mod transport;

pub use connect::Aws;
pub use keyref::{KeyRef, Names, is_role};
pub use means::AUDIENCE;
pub use plan::subject;
pub use subject::{Subject, Who, role_name};
