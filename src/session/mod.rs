//! What workloads use while the customer agrees. Nothing here outlives a proof.

pub mod caller;
pub mod envelope;
pub mod held;
pub mod hold;
pub mod refused;
pub mod roster;
#[cfg(test)]
mod tests;
pub mod token;
mod waiting;

pub use caller::Caller;
pub use held::Held;
pub use hold::{Hold, Standing, Version};
pub use refused::Refused;
pub use roster::Roster;
