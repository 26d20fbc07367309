//! Bring-your-own-key for multi-tenant platforms on Kubernetes. `docs/architecture.md` is the map.

#[cfg(feature = "client")]
pub mod client;
pub mod clock;
mod lock;
pub mod random;

#[cfg(feature = "operator")]
pub mod api;
#[cfg(feature = "operator")]
pub mod cli;
#[cfg(feature = "operator")]
pub mod controller;
#[cfg(feature = "operator")]
pub mod credentials;
#[cfg(feature = "operator")]
pub mod memory;
#[cfg(feature = "operator")]
pub mod policy;
#[cfg(feature = "operator")]
pub mod provider;
#[cfg(feature = "operator")]
pub mod record;
#[cfg(feature = "operator")]
pub mod seal;
#[cfg(feature = "operator")]
pub mod server;
#[cfg(feature = "operator")]
pub mod session;
