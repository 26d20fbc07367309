//! Bring-your-own-key for multi-tenant platforms on Kubernetes. `docs/architecture.md` is the map.

pub mod api;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod controller;
pub mod credentials;
mod lock;
pub mod memory;
pub mod policy;
pub mod provider;
pub mod random;
pub mod record;
pub mod seal;
pub mod server;
pub mod session;
