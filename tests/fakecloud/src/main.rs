//! One fake cloud as a process: prints where it is as one JSON line and lives until its standard input ends, so it
//! never outlives the one who started it.

use std::io::{Read, Write};

use fakecloud::FakeCloud;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cloud = FakeCloud::start().await?;
    let place = json!({
        "proxy": cloud.proxy_url(),
        "ca": cloud.ca_file(),
        "control": cloud.control_url(),
        "imds": cloud.imds_url(),
        "gcp_metadata": cloud.gcp_metadata(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{place}")?;
    out.flush()?;
    // The cloud runs on threads of its own; this one has nothing else to do.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
