//! The story itself: a no is obeyed, silence is neither a no nor a yes for ever, and a yes is
//! enough. Each step is watched for, never slept for, and fails when it does not come in time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::repository;
use serde_json::Value;

use crate::stage::Stage;
use crate::steps::Step;
use crate::{keys, outage, records, timeline};

/// A proof of a new object.
const PROVED: Duration = Duration::from_secs(20);
/// The interval, one confirmation after a second, and room for a busy machine.
const SEALED: Duration = Duration::from_secs(15);
/// A sealed tenant is tried every 30 seconds.
pub const UNSEALED: Duration = Duration::from_secs(40);

const EXTERNAL_ID: &str = "jsonpath={.status.externalId}{\"\\n\"}";
const GET: [&str; 4] = ["get", "tkms", "-n", "tenants"];

pub async fn tell(stage: &Stage<'_>) -> Result<()> {
    applied(stage).await?;
    records::begin(stage).await?;
    said_no(stage).await?;
    key_disabled(stage).await?;
    keys::tell(stage).await?;
    outage::tell(stage).await?;
    looked(stage).await?;
    stage.step(Step::Told)
}

async fn applied(stage: &Stage<'_>) -> Result<()> {
    stage.step(Step::Applied)?;
    let since = Instant::now();
    for folder in stage.cast.folders {
        let mut files = vec![format!("examples/{folder}/tenant.yaml")];
        let lend = format!("examples/{folder}/lend.yaml");
        if repository().join(&lend).exists() {
            files.insert(0, lend);
        }
        for file in files {
            stage.kubectl(&["apply", "-f", &file]).await?;
        }
    }
    if stage.customer().let_in(stage.env()).await?.is_some() {
        stage
            .timeline
            .say("the customer's role trusts the external id in the tenant's status:");
        stage
            .kubectl(&[
                "get",
                "tkms",
                &stage.customer().name,
                "-n",
                "tenants",
                "-o",
                EXTERNAL_ID,
            ])
            .await?;
    }
    stage.tenant_is("Active", "True", None, PROVED).await?;
    let took = since.elapsed();
    stage
        .env()
        .wait_condition(&stage.cast.other.name, "Active", "True", None, PROVED)
        .await?;
    shown(stage, "Active", took).await?;

    stage.step(Step::Quicker)?;
    let patch = r#"{"spec":{"verify":{"interval":"5s","proofTTL":"1m"}}}"#;
    let args = [
        "patch",
        "tkms",
        &stage.customer().name,
        "-n",
        "tenants",
        "--type=merge",
        "-p",
        patch,
    ];
    stage.kubectl(&args).await?;
    let object = stage
        .tenant_is("ConfigAccepted", "True", None, PROVED)
        .await?;
    let effective = &object["status"]["effective"];
    if effective["interval"] != "5s" {
        bail!("in force is {effective}");
    }
    stage.timeline.say("in force");
    Ok(())
}

async fn said_no(stage: &Stage<'_>) -> Result<()> {
    stage.step(Step::No)?;
    let since = Instant::now();
    stage.customer().say_no();
    sealed(stage, "AccessDenied", since).await?;

    stage.step(Step::Yes)?;
    let since = Instant::now();
    stage.customer().say_yes();
    active(stage, since).await
}

async fn key_disabled(stage: &Stage<'_>) -> Result<()> {
    stage.step(Step::Disabled)?;
    let since = Instant::now();
    stage.customer().disable();
    sealed(stage, "KeyDisabled", since).await?;

    stage.step(Step::Enabled)?;
    let since = Instant::now();
    stage.customer().enable();
    stage.ask("unseal").await?;
    active(stage, since).await
}

/// Waits until the tenant is sealed for this reason; shows the table, the message and the command.
async fn sealed(stage: &Stage<'_>, reason: &str, since: Instant) -> Result<()> {
    let object = stage
        .tenant_is("Sealed", "True", Some(reason), SEALED)
        .await?;
    shown(stage, "Sealed", since.elapsed()).await?;
    let message = condition(&object, "Sealed", reason)?;
    timeline::quote(message);
    let command = stage.customer().cloud.words().command;
    ensure!(
        message.contains(command),
        "no {command}command in: {message}"
    );
    records::closed(stage, since).await
}

/// Waits until the tenant is Active again; shows the table.
pub async fn active(stage: &Stage<'_>, since: Instant) -> Result<()> {
    stage.tenant_is("Active", "True", None, UNSEALED).await?;
    shown(stage, "Active", since.elapsed()).await?;
    records::open(stage, since).await
}

/// The step's outcome and how long it took, with the table as `kubectl` prints it.
pub async fn shown(stage: &Stage<'_>, phase: &str, took: Duration) -> Result<()> {
    stage
        .timeline
        .say(format_args!("{phase} after {:.1} s", took.as_secs_f64()));
    table(stage, phase).await
}

/// The table, which must say this of the tenant, and of the other one that it is not concerned.
pub async fn table(stage: &Stage<'_>, phase: &str) -> Result<()> {
    let table = stage.kubectl(&GET).await?;
    let row = |name: &str| table.lines().find(|line| line.starts_with(name));
    let (name, other) = (&stage.customer().name, &stage.cast.other.name);
    match (row(name), row(other)) {
        (Some(row), Some(other)) if row.contains(phase) && other.contains("Active") => Ok(()),
        _ => bail!("the table does not say that {name} is {phase} and {other} Active"),
    }
}

/// The message of a condition that must have this reason.
pub fn condition<'a>(object: &'a Value, type_: &str, reason: &str) -> Result<&'a str> {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == type_ && condition["reason"] == reason)
        .and_then(|condition| condition["message"].as_str())
        .with_context(|| format!("{type_} is not for {reason}: {}", object["status"]))
}

async fn looked(stage: &Stage<'_>) -> Result<()> {
    stage.step(Step::Looked)?;
    let of = format!("tkms/{}", stage.customer().name);
    stage
        .kubectl(&["events", "-n", "tenants", "--for", &of])
        .await
        .map(drop)
}
