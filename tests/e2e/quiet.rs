//! A steady tenant causes no write: neither while it is checked nor when the operator starts again.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::seen::{calls, eventually, record, throughout, writes};
use crate::support::{SOON, World};

const MINUTE: Duration = Duration::from_mins(1);

/// Waits until nothing is written any more: the last event of what happened has its place.
async fn settled(world: &World) -> Result<Vec<String>> {
    let mut last = Vec::new();
    let mut same = 0;
    eventually("the operator stops writing", SOON, async || {
        let now = writes(&world.env)?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        Ok(same >= 5)
    })
    .await?;
    Ok(last)
}

#[tokio::test]
async fn a_verified_tenant_is_checked_for_a_minute_without_a_write() -> Result<()> {
    let world = World::new("quiet").await?;
    let operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;
    let before = settled(&world).await?;
    ensure!(
        before
            .iter()
            .any(|write| write.contains("tenantkmses/status")),
        "the audit log shows the operator's writes: {before:?}"
    );
    let object = world.env.tenant("acme").await?;
    let stored = record(&world.env, "acme").await?;
    let counted = calls(&world.env);

    throughout(MINUTE, async || {
        let now = writes(&world.env)?;
        ensure!(
            now == before,
            "written meanwhile: {:?}",
            now.get(before.len()..)
        );
        Ok(())
    })
    .await?;

    let checks = calls(&world.env).unwraps - counted.unwraps;
    ensure!((10..=15).contains(&checks), "{checks} checks in a minute");
    ensure!(world.env.tenant("acme").await? == object);
    ensure!(record(&world.env, "acme").await? == stored);
    let metrics = operator.metrics().await?;
    let proof = metrics
        .lines()
        .find(|line| line.starts_with("tenantkms_last_proof_timestamp_seconds{"))
        .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .unwrap_or_default();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    ensure!(
        now.as_secs_f64() - proof < 15.0,
        "exact times are in the metrics: {proof} of {now:?}"
    );

    // When it starts again it proves the key anew, and has nothing new to say.
    operator.terminate().await?;
    let counted = calls(&world.env);
    let _operator = world.operator().await?;
    eventually("two checks of the new process", SOON, async || {
        Ok(calls(&world.env).unwraps >= counted.unwraps + 2)
    })
    .await?;
    throughout(Duration::from_secs(5), async || {
        let now = writes(&world.env)?;
        ensure!(
            now == before,
            "written by the new process: {:?}",
            now.get(before.len()..)
        );
        Ok(())
    })
    .await?;
    ensure!(world.env.tenant("acme").await? == object);
    ensure!(record(&world.env, "acme").await? == stored);
    Ok(())
}

#[tokio::test]
async fn a_no_that_stays_the_same_is_written_once() -> Result<()> {
    let world = World::new("steady-no").await?;
    let _operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;
    world.key.disable();
    world
        .env
        .wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
        .await?;
    let before = settled(&world).await?;
    let object = world.env.tenant("acme").await?;
    let counted = calls(&world.env);

    // A sealed tenant is tried every 30 s; each answer has another request id.
    throughout(MINUTE, async || {
        let now = writes(&world.env)?;
        ensure!(
            now == before,
            "written meanwhile: {:?}",
            now.get(before.len()..)
        );
        Ok(())
    })
    .await?;
    let tried = calls(&world.env).unwraps - counted.unwraps;
    ensure!((1..=3).contains(&tried), "tried {tried} times in a minute");
    ensure!(world.env.tenant("acme").await? == object);
    Ok(())
}
