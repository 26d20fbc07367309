//! Strict loopback clouds for tests, benches and the demo: Azure, AWS and Google Cloud behind an HTTPS proxy with its
//! own CA, so that the operator runs unmodified under real host names. Never part of the product binary, never
//! reachable from another machine, and never more lenient than the real service where the product could notice.

pub mod aws;
pub mod azure;
mod calls;
mod cloud;
mod control;
mod crypto;
mod effects;
mod faults;
pub mod gcp;
mod http;
mod jwt;
mod pipeline;
mod port;
mod proxy;
mod services;
mod socket;
mod tls;
mod world;

pub use azure::directory::{Application, Directory};
pub use azure::identities::Imds;
pub use azure::imds::IMDS_HOST;
pub use azure::key::{Key, KeyOptions};
pub use azure::vault::{Permission, Scope, Vault};
pub use azure::{ENTRA_HOST, VAULT_SUFFIX};
pub use calls::Call;
pub use cloud::FakeCloud;
pub use effects::Effect;
pub use faults::{Fault, FaultId};
pub use gcp::{CryptoKey, Gcp, KMS_HOST, METADATA_HOST, Provider, ServiceAccount, VersionState};
