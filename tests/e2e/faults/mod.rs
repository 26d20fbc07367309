//! What breaks around the operator, and the operator itself killed, stopped and misled: the right
//! state comes after each, and no tenant is ever sealed by mistake. Waits for conditions; a time
//! is waited for only where the time is the fault.

mod api_server;
mod asleep;
mod clock;
mod denials;
mod failover;
pub mod film;
mod flaps;
pub mod keyring_kills;
pub(crate) mod kills;
pub mod outage;
mod renewals;
pub mod replica;
mod replicas;
pub(crate) mod town;

use std::time::Duration;

use anyhow::{Context, Result};

/// A scenario and its time limit.
async fn scenario(limit: Duration, story: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(limit, story)
        .await
        .with_context(|| format!("the scenario took longer than {limit:?}"))?
}
