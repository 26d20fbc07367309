//! The story itself: a no is obeyed, silence is neither a no nor a yes for ever, and a yes is
//! enough. Each step is watched for, never slept for, and fails when it does not come in time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::stage::Stage;
use crate::{keys, outage, records, timeline};

/// A proof of a new object.
const PROVED: Duration = Duration::from_secs(20);
/// The interval, one confirmation after a second, and room for a busy machine.
const SEALED: Duration = Duration::from_secs(15);
/// A sealed tenant is tried every 30 seconds.
pub const UNSEALED: Duration = Duration::from_secs(40);

const GET: [&str; 4] = ["get", "tkms", "-n", "tenants"];

pub async fn tell(stage: &Stage<'_>) -> Result<()> {
    applied(stage).await?;
    records::begin(stage).await?;
    role_taken(stage).await?;
    key_disabled(stage).await?;
    keys::tell(stage).await?;
    outage::tell(stage).await?;
    ended(stage).await
}

async fn applied(stage: &Stage<'_>) -> Result<()> {
    let timeline = stage.timeline;
    timeline.step("The platform applies two tenants: acme gave it a client secret, birch trusts its managed identity");
    let since = Instant::now();
    for example in ["azure-client-secret", "azure-managed-identity"] {
        let file = format!("examples/{example}/tenant.yaml");
        stage.kubectl(&["apply", "-f", &file]).await?;
    }
    stage.acme_is("Active", "True", None, PROVED).await?;
    let took = since.elapsed();
    stage
        .env()
        .wait_condition("birch", "Active", "True", None, PROVED)
        .await?;
    shown(stage, "Active", took).await?;

    timeline.step(
        "So that the story is quick: proved every 5 s (not 30 s), relied on for 1 minute (not 5)",
    );
    let patch = r#"{"spec":{"verify":{"interval":"5s","proofTTL":"1m"}}}"#;
    let args = [
        "patch",
        "tkms",
        "acme",
        "-n",
        "tenants",
        "--type=merge",
        "-p",
        patch,
    ];
    stage.kubectl(&args).await?;
    let object = stage
        .acme_is("ConfigAccepted", "True", None, PROVED)
        .await?;
    let effective = &object["status"]["effective"];
    if effective["interval"] != "5s" {
        bail!("in force is {effective}");
    }
    timeline.say("in force");
    Ok(())
}

async fn role_taken(stage: &Stage<'_>) -> Result<()> {
    let timeline = stage.timeline;
    timeline.step("The customer takes the role away (in Azure: az role assignment delete)");
    let since = Instant::now();
    stage.acme.take_role();
    sealed(stage, "AccessDenied", since).await?;

    timeline.step(
        "The customer gives the role back; nobody tells the operator, which tries every 30 s",
    );
    let since = Instant::now();
    stage.acme.give_role();
    active(stage, since).await
}

async fn key_disabled(stage: &Stage<'_>) -> Result<()> {
    let timeline = stage.timeline;
    timeline.step(
        "The customer disables the key (in Azure: az keyvault key set-attributes --enabled false)",
    );
    let since = Instant::now();
    stage.acme.key.disable();
    sealed(stage, "KeyDisabled", since).await?;

    timeline.step("The customer enables it, and the platform asks the operator to look at once");
    let since = Instant::now();
    stage.acme.key.enable();
    stage.ask("unseal").await?;
    active(stage, since).await
}

/// Waits until acme is sealed for this reason; shows the table, the message and the command.
async fn sealed(stage: &Stage<'_>, reason: &str, since: Instant) -> Result<()> {
    let object = stage
        .acme_is("Sealed", "True", Some(reason), SEALED)
        .await?;
    shown(stage, "Sealed", since.elapsed()).await?;
    let message = condition(&object, "Sealed", reason)?;
    timeline::quote(message);
    if !message.contains("az ") {
        bail!("no az command in: {message}");
    }
    records::closed(stage, since).await
}

/// Waits until acme is Active again; shows the table.
pub async fn active(stage: &Stage<'_>, since: Instant) -> Result<()> {
    stage.acme_is("Active", "True", None, UNSEALED).await?;
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

/// The table, which must say this of acme, and of birch that it is not concerned.
pub async fn table(stage: &Stage<'_>, phase: &str) -> Result<()> {
    let table = stage.kubectl(&GET).await?;
    let row = |name: &str| table.lines().find(|line| line.starts_with(name));
    match (row("acme"), row("birch")) {
        (Some(acme), Some(birch)) if acme.contains(phase) && birch.contains("Active") => Ok(()),
        _ => bail!("the table does not say that acme is {phase} and birch Active"),
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

async fn ended(stage: &Stage<'_>) -> Result<()> {
    stage
        .timeline
        .step("What the platform's people see of it later");
    stage
        .kubectl(&["events", "-n", "tenants", "--for", "tkms/acme"])
        .await?;
    stage
        .timeline
        .step("Told to the end: every step came in time.");
    Ok(())
}
