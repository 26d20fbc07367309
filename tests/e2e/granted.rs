//! The platform takes a grant away while the operator runs: the tenant is sealed in seconds and
//! nothing is sent any more, whatever its interval; and a file that is not understood changes
//! nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use fakecloud::Scope;
use harness::{Env, Operator};
use serde_json::{Value, json};

use crate::lifecycle::{ACTIVE, RARELY};
use crate::seen::{self, eventually, patch, throughout};
use crate::support::{SOON, World, manifest, policy};

const NOTHING: &str = "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n";

/// Every request that left the operator, to whatever host.
fn sent(env: &Env) -> usize {
    env.cloud.calls().len()
}

/// Asks for a check now, and waits until it was carried out.
async fn ask(env: &Env, value: &str) -> Result<Value> {
    let ask = json!({ "metadata": { "annotations": {
        "tenantkms.dev/verify-requested-at": value,
    } } });
    patch(env, "acme", false, "merge", &ask.to_string()).await?;
    let done = |object: &Value| object["status"]["handledRequests"]["verifyRequestedAt"] == value;
    env.wait("acme", "the request is handled", SOON, done).await
}

/// Takes the grant away from the Active tenant `acme` of a long interval, and gives it back.
async fn withdrawn_and_returned(env: &Env, granted: &str, field: &str) -> Result<()> {
    // With the long interval nothing but the policy brings the operator to look at it.
    let before = sent(env);
    env.write_config(NOTHING);
    let sealed = env
        .wait_condition("acme", "Sealed", "True", Some("NotAllowed"), SOON)
        .await?;
    ensure!(
        sealed["status"]["conditions"].to_string().contains(field),
        "what to change is named: {:#}",
        sealed["status"]
    );
    // Nor when somebody asks, or as time goes by.
    ask(env, "without-the-grant").await?;
    throughout(Duration::from_secs(5), async || {
        let calls = env.cloud.calls();
        ensure!(calls.len() == before, "sent: {:?}", &calls[before..]);
        Ok(())
    })
    .await?;
    let now = env.tenant("acme").await?;
    ensure!(seen::reason(&now, "Sealed") == "NotAllowed", "{now:#}");

    env.write_config(granted);
    seen::wait_row(env, "acme", ACTIVE, 3 * SOON).await?;
    ensure!(sent(env) > before, "Active without a proof");
    Ok(())
}

#[tokio::test]
async fn a_variable_withdrawn_seals_at_once() -> Result<()> {
    let world = World::new("ungranted").await?;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let granted = policy(&world.env.namespace);
    withdrawn_and_returned(&world.env, &granted, "clientSecretVariables").await
}

#[tokio::test]
async fn the_operators_own_identity_withdrawn_seals_at_once() -> Result<()> {
    let world = World::new("disowned").await?;
    let env = &world.env;
    let directory = env.cloud.directory(crate::support::DIRECTORY);
    let principal = env.cloud.imds().system_assigned(&directory);
    world.vault.grant(principal, Scope::Vault);
    let granted = format!(
        "{NOTHING}operatorIdentity:\n  azure: managedIdentity\n  allow:\n  - tenants: ['{}/*']\n    \
         keys: ['{}']\n",
        env.namespace,
        world.key.url()
    );
    env.write_config(&granted);
    let _operator = world.operator().await?;
    let tenant = json!({
        "apiVersion": "tenantkms.dev/v1alpha1", "kind": "TenantKms",
        "metadata": { "name": "acme" },
        "spec": {
            "provider": "azure",
            "kmsKeyRef": world.key.url(),
            "azure": { "managedIdentity": {} },
            "verify": { "interval": "150s", "proofTTL": "5m" },
        },
    });
    env.apply(&tenant.to_string()).await?.success()?;
    seen::wait_row(env, "acme", ACTIVE, SOON).await?;
    withdrawn_and_returned(env, &granted, "operatorIdentity.allow").await
}

#[tokio::test]
async fn a_suffix_withdrawn_stops_every_request() -> Result<()> {
    let world = World::new("suffix").await?;
    let env = &world.env;
    let plain = policy(&env.namespace);
    let granted = format!("{plain}allowedEndpointSuffixes: [kv.example.test]\n");
    env.write_config(&granted);
    let _operator = world.operator().await?;
    // No such cloud answers here: that the operator tries shows that it may.
    let yaml = manifest("acme", RARELY).replace("acme-kv.vault.azure.net", "acme.kv.example.test");
    env.apply(&yaml).await?.success()?;
    let tried = |object: &Value| object["status"]["lastVerifyError"].is_object();
    let object = env.wait("acme", "it is tried", SOON, tried).await?;
    ensure!(seen::reason(&object, "Ready") != "EndpointNotAllowed");
    ensure!(sent(env) > 0, "allowed, and nothing was sent");

    env.write_config(&plain);
    env.wait_condition("acme", "Ready", "False", Some("EndpointNotAllowed"), SOON)
        .await?;
    let before = sent(env);
    ask(env, "without-the-suffix").await?;
    ensure!(sent(env) == before, "{:?}", &env.cloud.calls()[before..]);

    env.write_config(&granted);
    eventually("it is tried again", SOON, async || Ok(sent(env) > before)).await
}

/// The operator's own word on its configuration file.
async fn is_invalid(operator: &Operator) -> Result<bool> {
    let metrics = operator.metrics().await?;
    Ok(metrics
        .lines()
        .any(|line| line == "tenantkms_policy_invalid 1"))
}

#[tokio::test]
async fn a_broken_file_changes_nothing() -> Result<()> {
    let world = World::new("broken-file").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    ensure!(!is_invalid(&operator).await?);
    let good = policy(&env.namespace);
    let before = env.tenant("acme").await?["status"]["conditions"].clone();
    // Without the grant too, if any of it were taken.
    let typo = NOTHING.to_owned() + "clientSecretVariable: []\n";
    for (number, broken) in [typo.as_str(), "", ": ["].into_iter().enumerate() {
        env.write_config(broken);
        eventually("the fault is told", SOON, async || {
            is_invalid(&operator).await
        })
        .await?;
        // Still usable: a check and a probe go out, and work.
        let sent = env.cloud.count("*", "unwrapkey");
        ask(env, &format!("broken-{number}")).await?;
        eventually("a check and a probe", SOON, async || {
            Ok(env.cloud.count("*", "unwrapkey") == sent + 2)
        })
        .await?;
        let now = env.tenant("acme").await?;
        ensure!(now["status"]["conditions"] == before, "{now:#}");

        env.write_config(&good);
        eventually("repaired", SOON, async || Ok(!is_invalid(&operator).await?)).await?;
    }
    seen::wait_row(env, "acme", ACTIVE, SOON).await.map(drop)
}
