//! The inside of a cluster that is kept: installs everything, says so in a file, and stays.

use std::fs;
use std::path::Path;

use anyhow::Result;
use harness::node::{self, Cluster};
use serde_json::json;

use crate::customers;

/// Written last, and whole: who sees it can use the cluster.
pub const READY: &str = "ready.json";

pub async fn run(program: &Path, folder: &Path) -> Result<()> {
    let cgroup = node::enter()?;
    let cluster = Cluster::start(&cgroup, program).await?;
    let all = customers::examples(&cluster.env).await?;
    cluster.env.configure(&all);
    let took = cluster.install(&[]).await?;
    let ready = json!({
        "kubeconfig": cluster.env.control.kubeconfig(),
        "control": cluster.env.cloud.control_url(),
        "no": all[0].commands()[0],
        "seconds": took.as_secs_f64(),
    });
    let unfinished = folder.join("unfinished");
    fs::write(&unfinished, ready.to_string())?;
    fs::rename(unfinished, folder.join(READY))?;
    // Until it is killed: the namespaces end with this process.
    std::future::pending().await
}
