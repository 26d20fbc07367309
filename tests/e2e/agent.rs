//! The agent API: what workloads get while the customer agrees, on every replica, and nothing else.

mod bounds;
mod client;
mod data;
mod errors;
mod programs;
mod replicas;
mod sessions;
mod stolen;
mod terms;
mod unread;
mod unseen;
mod unwritable;
mod wire;

use std::time::Duration;

use anyhow::Result;
use harness::{Agent, Env, Operator, Workload};
use serde_json::json;

use crate::keyring::long_retired;
use crate::seen::{eventually, patch, record};
use crate::support::World;

const QUICK: &str = "{ interval: 5s, proofTTL: 1m }";
const SOON: Duration = Duration::from_secs(40);

/// The tenant `acme`, active, a replica that serves it, and a workload that may use it.
struct Scene {
    world: World,
    operator: Operator,
    agent: Agent,
    app: Workload,
}

impl Scene {
    async fn new(name: &str) -> Result<Self> {
        Self::with(name, QUICK).await
    }

    async fn with(name: &str, verify: &str) -> Result<Self> {
        let world = World::new(name).await?;
        let operator = world.env.spawn(world.env.agent_options()).await?;
        let agent = world.env.agent(&operator).await?;
        world.active(verify).await?;
        let app = world.env.workload("app", "acme", &["session"]).await?;
        Ok(Self {
            world,
            operator,
            agent,
            app,
        })
    }
}

/// The tenant's first master key, which another one has replaced, is erased.
async fn erase_first(env: &Env, id: &str) -> Result<()> {
    long_retired(env, "later").await?;
    let erase = json!({ "spec": { "masterKey": { "erasedIds": [id] } } });
    patch(env, "acme", false, "merge", &erase.to_string()).await?;
    eventually("the former key to be erased", SOON, async || {
        let body = record(env, "acme").await?.body;
        Ok(body["keyring"]["versions"][0]["state"] == "erased")
    })
    .await
}

/// The customer's key gets another version, and so does the master key.
async fn rotate(world: &World) -> Result<()> {
    world.key.new_version();
    let annotations = json!({ "tenantkms.dev/verify-requested-at": "now" });
    let asked = json!({ "metadata": { "annotations": annotations } });
    patch(&world.env, "acme", false, "merge", &asked.to_string()).await
}
