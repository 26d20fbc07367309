//! Watches `TenantKms` objects and keeps each proved: watch → decide → act → report. Decisions are
//! in `tenant`, `candidate`, `requests` and `report` (pure) and in `crate::seal`.

pub mod attempt;
pub mod candidate;
mod client;
pub mod context;
mod erasure;
pub mod events;
pub mod guests;
#[cfg(test)]
pub(crate) mod histories;
pub mod installation;
pub mod lease;
mod malformed;
pub mod namespaces;
mod object;
mod objects;
pub mod outcome;
mod prompts;
mod reconcile;
mod recording;
pub mod report;
pub mod requests;
pub mod risk;
mod schedule;
pub mod serving;
pub mod shares;
mod sighting;
mod status;
pub mod tenant;
pub mod wakes;
mod watch;
pub mod work;
pub mod writes;

pub use client::{ClientError, client};
pub use objects::Syncing;
pub use watch::run;
