//! The agent API: what workloads call.

pub mod limits;
