//! The cloud that does not answer: nothing is sealed before the last proof is a minute old, and then
//! it is. The age is the operator's own, from its metrics, and checked here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::time::{Instant as TokioInstant, interval_at};

use crate::stage::Stage;
use crate::steps::Step;
use crate::{records, story, timeline};

/// proofTTL, as the story sets it.
const TTL: f64 = 60.0;
/// How much later than that it is sealed at the latest.
const LATE: f64 = 5.0;
/// When the table is shown in between.
const HALF: f64 = 30.0;

pub async fn tell(stage: &Stage<'_>) -> Result<()> {
    stage.step(Step::Hung)?;
    let since = Instant::now();
    // Where the key is since the last move.
    let fault = stage.env().cloud.fault(stage.cast.next.outage());
    let object = until_sealed(stage).await?;
    let (at, proof) = (now()?, last_proof(stage).await?);
    let age = at - proof;
    story::shown(stage, "Sealed", since.elapsed()).await?;
    timeline::quote(story::condition(&object, "Sealed", "Unreachable")?);
    timeline::more(format_args!(
        "Sealed {age:.1} s after the last proof (checked: 60 to 65 s)"
    ));
    if !(TTL..=TTL + LATE).contains(&age) {
        bail!("sealed {age:.1} s after the last proof");
    }
    records::closed(stage, since).await?;

    stage.step(Step::Answers)?;
    let since = Instant::now();
    stage.env().cloud.clear_fault(fault);
    story::active(stage, since).await
}

/// Watches the tenant until it is sealed; meanwhile says how old the last proof is.
async fn until_sealed(stage: &Stage<'_>) -> Result<Value> {
    let period = Duration::from_secs(5);
    let mut ticks = interval_at(TokioInstant::now() + period, period);
    let within = Duration::from_secs_f64(TTL + 4.0 * LATE);
    let sealed = stage
        .env()
        .wait_condition(&stage.customer().name, "Sealed", "True", None, within);
    let mut sealed = std::pin::pin!(sealed);
    let mut shown = false;
    loop {
        tokio::select! {
            object = &mut sealed => {
                if !shown {
                    bail!("sealed before it was shown that it is still Active");
                }
                return object;
            }
            _ = ticks.tick() => {
                let age = now()? - last_proof(stage).await?;
                if age >= HALF && !shown {
                    shown = true;
                    stage.timeline.say(format_args!("still Active, {age:.0} s after the last proof"));
                    story::table(stage, "Active").await?;
                } else {
                    stage.timeline.say(format_args!("… the last proof is {age:.0} s old"));
                }
            }
        }
    }
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// When the tenant's last proof was begun, in Unix time, as the operator's metrics say.
async fn last_proof(stage: &Stage<'_>) -> Result<f64> {
    let metrics = stage.metrics().await?;
    let name = &stage.customer().name;
    let label = format!("name=\"{name}\"");
    metrics
        .lines()
        .filter(|line| line.starts_with("tenantkms_last_proof_timestamp_seconds{"))
        .find(|line| line.contains(&label) && line.contains("namespace=\"tenants\""))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .with_context(|| format!("no tenantkms_last_proof_timestamp_seconds for tenants/{name}"))
}
