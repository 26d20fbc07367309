//! A steady tenant causes no write: neither while it is checked nor when the operator starts again. Its
//! use costs the API server the reviews that are due, and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use harness::{Agent, Workload};

use crate::seen::{calls, eventually, record, throughout, writes};
use crate::support::{SOON, World};

const MINUTE: Duration = Duration::from_mins(1);

/// Waits until nothing is written any more: the last event of what happened has its place.
pub async fn settled(world: &World) -> Result<Vec<String>> {
    let mut last = Vec::new();
    let mut same = 0;
    eventually("the operator stops writing", SOON, async || {
        let now = writes(&world.env)?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        Ok(same >= 15)
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

/// The operator's writes but these, and how many reviews of tokens and of accesses there were.
fn reviewed(world: &World) -> Result<(Vec<String>, u64, u64)> {
    let (mut others, mut tokens, mut accesses) = (Vec::new(), 0, 0);
    for write in writes(&world.env)? {
        match &*write {
            r#""create" tokenreviews/"# => tokens += 1,
            r#""create" subjectaccessreviews/"# => accesses += 1,
            _ => others.push(write),
        }
    }
    Ok((others, tokens, accesses))
}

/// The workload's day: a new session, and what it wrote is read.
async fn used(app: &Workload, agent: &Agent) -> Result<()> {
    let session = app.begin(agent).await?;
    let sealed = app.seal(agent, &session, "a record").await?;
    ensure!(app.open(agent, &session, &sealed).await? == "a record");
    Ok(())
}

/// An access that is allowed is asked for again after 20 to 25 s, the caller of a token after 3 min.
#[tokio::test]
async fn a_tenant_that_is_used_causes_no_write_but_the_reviews_that_are_due() -> Result<()> {
    let world = World::new("used").await?;
    let operator = world.env.spawn(world.env.agent_options()).await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;
    let agent = world.env.agent(&operator).await?;
    let app = world.env.workload("app", "acme", &["session"]).await?;
    let before = settled(&world).await?;
    for written in ["secrets", "configmaps", "tenantkmses/status"] {
        ensure!(
            before.iter().any(|write| write.contains(written)),
            "{written} in {before:?}"
        );
    }
    let object = world.env.tenant("acme").await?;

    let begun = Instant::now();
    used(&app, &agent).await?;
    settled(&world).await?;
    // One of each, if neither was too late.
    let (_, known, allowed) = reviewed(&world)?;
    let few = 1..=2;
    ensure!(
        few.contains(&known) && few.contains(&allowed),
        "{known} and {allowed}"
    );
    throughout(MINUTE + Duration::from_secs(5), async || {
        used(&app, &agent).await?;
        let due = begun.elapsed().as_secs() / 20;
        let (others, tokens, accesses) = reviewed(&world)?;
        ensure!(others == before, "{:?}", others.get(before.len()..));
        ensure!(
            tokens == known && accesses <= allowed + due,
            "{tokens} after {known}, {accesses} after {allowed}"
        );
        Ok(())
    })
    .await?;
    eventually("the reviews are audited", SOON, async || {
        let (_, tokens, accesses) = reviewed(&world)?;
        Ok(tokens == known && accesses >= allowed + 2)
    })
    .await?;

    // Another process remembers nothing, and issues itself another certificate.
    let (_, known, _) = reviewed(&world)?;
    operator.terminate().await?;
    let operator = world.env.spawn(world.env.agent_options()).await?;
    let agent = world.env.agent(&operator).await?;
    let begun = Instant::now();
    eventually("it serves", SOON, async || {
        Ok(used(&app, &agent).await.is_ok())
    })
    .await?;
    settled(&world).await?;
    let (_, again, allowed) = reviewed(&world)?;
    ensure!(again > known, "{again} after {known}");
    throughout(Duration::from_secs(5), async || {
        used(&app, &agent).await?;
        let due = begun.elapsed().as_secs() / 20;
        let (others, tokens, accesses) = reviewed(&world)?;
        ensure!(others == before, "{:?}", others.get(before.len()..));
        ensure!(
            tokens == again && accesses <= allowed + due,
            "{tokens} after {again}, {accesses} after {allowed}"
        );
        Ok(())
    })
    .await?;
    ensure!(world.env.tenant("acme").await? == object);
    Ok(())
}
