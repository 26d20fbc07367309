//! What the operator serves: the agent API over TLS, and health and metrics on their own address.

pub mod agent;
pub mod health;
mod listen;
pub mod metrics;
mod patient;
pub mod reviews;
pub mod tls;
