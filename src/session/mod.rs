//! What workloads use while the customer agrees. Nothing here outlives a proof.

pub mod held;

pub use held::Held;
