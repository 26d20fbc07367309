//! Bring-your-own-key for multi-tenant platforms on Kubernetes. `docs/architecture.md` is the map.

pub mod api;
pub mod cli;
pub mod clock;
pub mod credentials;
pub mod policy;
pub mod provider;
pub mod seal;
