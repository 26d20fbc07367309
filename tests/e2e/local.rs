//! A key that the platform mounts as a file: standard tenants work without any cloud, a new file
//! is a new version, and what is wrong with a file is the platform's fault and no denial.

mod moving;
mod page;

use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Result, ensure};
use harness::{Env, Operator};
use serde_json::{Value, json};

use crate::examples::example;
use crate::faults::film::{Film, is};
use crate::faults::outage::LATEST;
use crate::faults::town::last_proof;
use crate::lifecycle::{ACTIVE, RARELY};
use crate::ownership::second_namespace;
use crate::seen::{self, eventually, patch, record, wait_row};
use crate::support::{SOON, World, policy};

const OFTEN: &str = "{ interval: 5s, proofTTL: 1m }";
const NOTHING: &str = "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n";

/// The tenant `acme`, with the platform's key.
pub fn standard(namespace: &str, verify: &str) -> String {
    format!(
        "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\n\
         metadata: {{ name: acme, namespace: {namespace} }}\n\
         spec: {{ provider: local, kmsKeyRef: local://standard, verify: {verify} }}\n"
    )
}

pub fn grant(env: &Env) -> String {
    let tenants = format!("tenants: ['{0}/*', '{0}-b/*']", env.namespace);
    format!(
        "{NOTHING}operatorIdentity:\n  allow:\n  - {{ {tenants}, keys: ['local://standard'] }}\n"
    )
}

/// With the grant of the customer's credential, as one file.
pub fn both(world: &World) -> String {
    let local = grant(&world.env);
    let rest = local.split_once("operatorIdentity").map(|(_, rest)| rest);
    format!(
        "{}operatorIdentity{}",
        policy(&world.env.namespace),
        rest.unwrap_or_default()
    )
}

/// With a key and a grant, and the operator running.
async fn mounted(name: &str) -> Result<(Env, Operator)> {
    let env = Env::new(name).await?;
    env.add_kek("standard.1");
    env.write_config(&grant(&env));
    let operator = env.operator().await?;
    Ok((env, operator))
}

/// Asks for a check now, and waits for its answer.
pub async fn ask(env: &Env, kind: &str, value: &str) -> Result<Value> {
    let annotation = format!("tenantkms.dev/{kind}-requested-at");
    let ask = json!({ "metadata": { "annotations": { annotation: value } } });
    patch(env, "acme", false, "merge", &ask.to_string()).await?;
    let handled = format!("/status/handledRequests/{kind}RequestedAt");
    let done = |object: &Value| object.pointer(&handled).is_some_and(|known| known == value);
    env.wait("acme", "the request is handled", SOON, done).await
}

#[tokio::test]
async fn a_standard_tenant_needs_no_cloud_and_shares_its_key() -> Result<()> {
    let world = World::new("standard").await?;
    let env = &world.env;
    let second = second_namespace(&world).await?;
    env.add_kek("standard.1");
    env.write_config(&grant(env));
    let both = format!("{},{second}", env.namespace);
    let options = env.operator_options().option("--watch-namespaces", both);
    let _operator = env.spawn(options).await?;
    for namespace in [&env.namespace, &second] {
        let apply = ["apply", "--server-side", "-f", "-"];
        let yaml = standard(namespace, RARELY);
        env.control.kubectl_stdin(&apply, &yaml).await?.success()?;
    }
    let object = wait_row(env, "acme", ACTIVE, SOON).await?;
    ensure!(object["status"]["kekVersion"] == "1", "{object:#}");
    ensure!(object["status"]["masterKeys"][0]["version"] == 1);
    ensure!(seen::reason(&object, "KeyAtRisk") == "Verified");
    // A key that is shared is nobody's: no claim, nor the label that would tell others of one.
    let get = ["get", "tkms", "acme", "--namespace", &second, "-o", "json"];
    eventually("the other namespace's tenant too", SOON, async || {
        let other: Value = serde_json::from_str(&env.control.kubectl(&get).await?.success()?)?;
        Ok(seen::row(&other) == ACTIVE)
    })
    .await?;
    let stored = record(env, "acme").await?;
    ensure!(stored.body["claim"].is_null(), "{}", stored.body);
    let labels = [
        "get",
        "secrets",
        "--namespace",
        &env.records_namespace,
        "--selector=tenantkms.dev/claim",
        "-o",
        "name",
    ];
    let claimed = env.control.kubectl(&labels).await?.success()?;
    ensure!(claimed.is_empty(), "{claimed}");
    ensure!(env.cloud.calls().is_empty(), "{:?}", env.cloud.calls());
    Ok(())
}

#[tokio::test]
async fn another_file_is_another_version_and_the_old_one_may_go() -> Result<()> {
    let (env, _operator) = mounted("newfile").await?;
    env.apply(&standard(&env.namespace, RARELY))
        .await?
        .success()?;
    let first = wait_row(&env, "acme", ACTIVE, SOON).await?;
    let old = first["status"]["masterKeys"][0]["id"].clone();

    env.add_kek("standard.2");
    ask(&env, "verify", "with-the-new-file").await?;
    let rotated = |object: &Value| object["status"]["kekVersion"] == "2";
    let now = env.wait("acme", "rotated", SOON, rotated).await?;
    let keys = &now["status"]["masterKeys"];
    ensure!(
        keys[0]["version"] == 2 && keys[0]["state"] == "active" && keys[0]["id"] != old,
        "{keys:#}"
    );
    ensure!(keys[1]["id"] == old && keys[1]["state"] == "retired");
    let stored = record(&env, "acme").await?.body;
    ensure!(stored["keyring"]["kek"]["version"] == "2", "{stored}");

    // Everything is wrapped by version 2 now, the older master key too.
    env.take_kek("standard.1");
    ask(&env, "verify", "without-the-old-file").await?;
    wait_row(&env, "acme", ACTIVE, SOON).await.map(drop)
}

#[tokio::test]
async fn a_file_that_is_gone_seals_when_the_proof_is_too_old_and_not_before() -> Result<()> {
    let (env, operator) = mounted("gonefile").await?;
    env.apply(&standard(&env.namespace, OFTEN))
        .await?
        .success()?;
    wait_row(&env, "acme", ACTIVE, SOON).await?;
    let film = Film::start(&env, "acme").await?;
    let key = env.take_kek("standard.1");
    let gone = Instant::now();
    let failed = |object: &Value| object["status"]["lastVerifyError"]["reason"] == "KeyNotFound";
    film.until("the check failed", gone, SOON, failed).await?;
    let sealed = |object: &Value| is(object, "Sealed", "True");
    let frame = film.until("Sealed", gone, 4 * SOON, sealed).await?;
    let sealed = frame.wall.duration_since(UNIX_EPOCH)?.as_secs_f64();
    let age = sealed - last_proof(&operator, "acme").await?;
    ensure!(
        (60.0..LATEST).contains(&age),
        "sealed {age:.3} s after the last proof"
    );
    let object = &frame.object;
    ensure!(seen::reason(object, "Sealed") == "KeyNotFound");
    ensure!(object["status"].to_string().contains("the file standard.1"));

    env.put_kek("standard.1", b"not a key\n");
    ask(&env, "verify", "no-key").await?;
    let unusable = |object: &Value| object["status"]["lastVerifyError"]["reason"] == "KeyUnusable";
    let object = env.wait("acme", "tried", SOON, unusable).await?;
    let message = object["status"]["lastVerifyError"]["message"].to_string();
    ensure!(
        message.contains("exactly 32") && !message.contains("not a key"),
        "{message}"
    );
    // Another key in its place opens nothing, and is not taken for the tenant's.
    env.add_kek("standard.1");
    ask(&env, "verify", "other-key").await?;
    let corrupt =
        |object: &Value| object["status"]["lastVerifyError"]["reason"] == "KeyringCorrupt";
    env.wait("acme", "told apart", SOON, corrupt).await?;
    env.put_kek("standard.1", &key);
    wait_row(&env, "acme", ACTIVE, 3 * SOON).await.map(drop)
}

#[tokio::test]
async fn a_grant_withdrawn_seals_at_once() -> Result<()> {
    let (env, _operator) = mounted("localgrant").await?;
    env.apply(&standard(&env.namespace, RARELY))
        .await?
        .success()?;
    wait_row(&env, "acme", ACTIVE, SOON).await?;
    // With the long interval nothing but the policy brings the operator to look at it.
    env.write_config(NOTHING);
    let sealed = env
        .wait_condition("acme", "Sealed", "True", Some("NotAllowed"), SOON)
        .await?;
    let told = sealed["status"]["conditions"].to_string();
    ensure!(told.contains("keys: ['local://standard']"), "{told}");
    env.write_config(&grant(&env));
    wait_row(&env, "acme", ACTIVE, 3 * SOON).await.map(drop)
}

#[tokio::test]
async fn without_the_option_there_is_no_key() -> Result<()> {
    let env = Env::new("nokeks").await?;
    env.write_config(&grant(&env));
    let mut options = env.operator_options();
    let at = options.args.iter().position(|arg| arg == "--local-kek-dir");
    let at = at.unwrap_or(usize::MAX);
    options.args.drain(at..at + 2);
    let _operator = env.spawn(options).await?;
    env.apply(&standard(&env.namespace, RARELY))
        .await?
        .success()?;
    let refused = env
        .wait_condition("acme", "ConfigAccepted", "False", Some("KeyNotFound"), SOON)
        .await?;
    let told = refused["status"]["conditions"].to_string();
    ensure!(told.contains("localKek.secretName"), "{told}");
    Ok(())
}

#[tokio::test]
async fn the_example_works() -> Result<()> {
    let env = Env::new("exlocal").await?;
    env.add_kek("standard.1");
    let options = env.operator_options();
    let files = [("tenant.yaml", "spruce")];
    crate::examples::active_with(&env, options, "local", &files).await?;
    // What the page shows is the file.
    let page = std::fs::read_to_string(harness::repository().join(page::PAGE))?;
    let shown: Value = serde_yaml_ng::from_str(&page::block(&page, "yaml", 1)?)?;
    let file = std::fs::read_to_string(harness::repository().join("examples/local/tenant.yaml"))?;
    ensure!(shown == serde_yaml_ng::from_str::<Value>(&file)?);
    let config: Value = serde_yaml_ng::from_str(&page::block(&page, "yaml", 0)?)?;
    let file = example(&env, "local/operator-config.yaml")?;
    let file = file.replace(&format!("{}/", env.namespace), "tenants/");
    ensure!(config["config"] == serde_yaml_ng::from_str::<Value>(&file)?);
    Ok(())
}
