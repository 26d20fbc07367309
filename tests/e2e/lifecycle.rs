//! What outlives an object, and whose it is: seals, records, namespaces, keys and installations.

use std::time::Duration;

use anyhow::{Result, ensure};
use fakecloud::{FakeCloud, Scope};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::seen::{self, calls, eventually, patch, record, throughout, wait_row, writes};
use crate::support::{SOON, World, manifest, policy};

const ACTIVE: &str = "Active: Ready=True Active=True Sealed=False ConfigAccepted=True";
const SEALED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Stalled=True";
const FAILED: &str =
    "Pending: Ready=False Active=False Sealed=False ConfigAccepted=False Stalled=True";
/// So long that no check is due within a test.
const RARELY: &str = "{ interval: 150s, proofTTL: 5m }";
const OFTEN: &str = "{ interval: 5s, proofTTL: 1m }";

#[tokio::test]
async fn deleting_and_creating_again_unseals_nothing() -> Result<()> {
    let world = World::new("recreated").await?;
    let _operator = world.operator().await?;
    world.active(OFTEN).await?;
    world.key.disable();
    let sealed = wait_row(&world.env, "acme", SEALED, SOON).await?;
    let stored = record(&world.env, "acme").await?;

    world
        .env
        .kubectl(&["delete", "tkms", "acme"])
        .await?
        .success()?;
    world.env.apply(&manifest("acme", OFTEN)).await?.success()?;
    let mut active = false;
    let again = world
        .env
        .wait("acme", "sealed again", SOON, |object| {
            active |= object["status"]["phase"] == "Active";
            seen::row(object) == SEALED && object["metadata"]["uid"] != sealed["metadata"]["uid"]
        })
        .await?;
    ensure!(!active, "Active without a proof");
    ensure!(again["status"]["sealedSince"] == sealed["status"]["sealedSince"]);
    ensure!(
        record(&world.env, "acme").await? == stored,
        "the same seal, the same epoch"
    );
    throughout(Duration::from_secs(5), async || {
        let now = world.env.tenant("acme").await?;
        ensure!(seen::row(&now) == SEALED, "{}", seen::row(&now));
        Ok(())
    })
    .await?;

    world.key.enable();
    wait_row(&world.env, "acme", ACTIVE, 2 * SOON).await?;
    let now = record(&world.env, "acme").await?.body;
    ensure!(
        now["tenantUid"] == stored.body["tenantUid"] && now["sealEpoch"] == 1,
        "{now}"
    );
    Ok(())
}

/// Role and `RoleBinding` of the operator in the tenants' namespace, to be applied in another.
async fn rights(world: &World, namespace: &str) -> Result<String> {
    let args = ["get", "roles,rolebindings", "-o", "json"];
    let mut list: Value = serde_json::from_str(&world.env.kubectl(&args).await?.success()?)?;
    for item in list["items"].as_array_mut().into_iter().flatten() {
        let name = item["metadata"]["name"].clone();
        item["metadata"] = json!({ "name": name, "namespace": namespace });
    }
    Ok(list.to_string())
}

#[tokio::test]
async fn a_new_owner_of_the_namespaces_name_inherits_nothing() -> Result<()> {
    let world = World::new("foreign").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let stored = record(env, "acme").await?;
    let rights = rights(&world, &env.namespace).await?;

    let control = &env.control;
    control
        .kubectl(&["delete", "namespace", &env.namespace])
        .await?
        .success()?;
    control
        .kubectl(&["create", "namespace", &env.namespace])
        .await?
        .success()?;
    control
        .kubectl_stdin(&["apply", "-f", "-"], &rights)
        .await?
        .success()?;
    let counted = env.cloud.calls().len();
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    let foreign = wait_row(env, "acme", FAILED, SOON).await?;
    ensure!(
        seen::reason(&foreign, "Ready") == "KeyringForeign",
        "{foreign:#}"
    );
    throughout(Duration::from_secs(5), async || {
        ensure!(
            env.cloud.calls().len() == counted,
            "a call for the new owner"
        );
        Ok(())
    })
    .await?;
    ensure!(
        record(env, "acme").await? == stored,
        "the old owner's record stays"
    );
    Ok(())
}

/// Changes the stored record by hand.
async fn damage(world: &World, body: &str) -> Result<()> {
    let secrets: Api<Secret> =
        Api::namespaced(world.env.client().await?, &world.env.records_namespace);
    let name = record(&world.env, "acme").await?.secret;
    let change = json!({ "stringData": { "record.json": body } });
    secrets
        .patch(&name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_used_stops_everything_but_the_report() -> Result<()> {
    let world = World::new("damaged").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    operator.terminate().await?;
    let stored = record(env, "acme").await?;
    let mut newer = stored.body.clone();
    newer["format"] = json!(99);
    let whole = stored.body.to_string();
    let half = whole.split_at(whole.len() / 2).0.to_owned();
    let other = whole.replace(&format!("{}/acme", env.namespace), "somebody/else");

    for (body, reason) in [
        (newer.to_string(), "KeyringTooNew"),
        (half, "KeyringCorrupt"),
        (other, "KeyringCorrupt"),
    ] {
        damage(&world, &body).await?;
        let counted = env.cloud.calls().len();
        let operator = world.operator().await?;
        let refused = wait_row(env, "acme", FAILED, SOON).await?;
        ensure!(seen::reason(&refused, "Ready") == reason, "{refused:#}");
        throughout(Duration::from_secs(4), async || {
            ensure!(
                env.cloud.calls().len() == counted,
                "a call without a record: {reason}"
            );
            Ok(())
        })
        .await?;
        operator.terminate().await?;
        patch(
            env,
            "acme",
            true,
            "json",
            r#"[{"op":"remove","path":"/status"}]"#,
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_installations_never_share_an_object() -> Result<()> {
    let world = World::new("two-owners").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let (object, stored) = (env.tenant("acme").await?, record(env, "acme").await?);
    ensure!(
        object["metadata"]["annotations"]["tenantkms.dev/installation"]
            == env.installation.as_str()
    );

    // The other one has a cloud of its own, in which every request would be counted.
    let cloud = FakeCloud::start().await?;
    let mut options = env.operator_options().option("--installation", "other");
    for (name, value) in cloud.env() {
        options = options.env(&name, value);
    }
    let other = env.spawn(options).await?;
    eventually(
        "the other installation has seen the object",
        SOON,
        async || {
            let metrics = other.metrics().await?;
            let line = metrics
                .lines()
                .find(|line| line.contains("reconciles_total{outcome=\"foreign\"}"));
            Ok(line.is_some_and(|line| !line.ends_with(" 0")))
        },
    )
    .await?;
    let ask = r#"{"metadata":{"annotations":{"tenantkms.dev/verify-requested-at":"now"}}}"#;
    patch(env, "acme", false, "merge", ask).await?;
    env.wait("acme", "the owner answers", SOON, |object| {
        object["status"]["handledRequests"]["verifyRequestedAt"] == "now"
    })
    .await?;
    let now = env.tenant("acme").await?;
    ensure!(
        now["status"]["conditions"] == object["status"]["conditions"],
        "{now:#}"
    );
    ensure!(cloud.calls().is_empty(), "{:?}", cloud.calls());
    ensure!(record(env, "acme").await?.body["tenantUid"] == stored.body["tenantUid"]);

    // Not even with the owner gone.
    operator.kill().await?;
    let quiet = (env.tenant("acme").await?, writes(env)?);
    patch(
        env,
        "acme",
        false,
        "merge",
        r#"{"metadata":{"annotations":{"x":"y"}}}"#,
    )
    .await?;
    throughout(Duration::from_secs(5), async || {
        ensure!(writes(env)? == quiet.1 && cloud.calls().is_empty());
        ensure!(env.tenant("acme").await?["status"] == quiet.0["status"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_serves_one_namespace_until_it_is_let_go() -> Result<()> {
    let world = World::new("one-key").await?;
    let env = &world.env;
    let second = format!("{}-b", env.namespace);
    env.control
        .kubectl(&["create", "namespace", &second])
        .await?
        .success()?;
    let rights = rights(&world, &second).await?;
    env.control
        .kubectl_stdin(&["apply", "-f", "-"], &rights)
        .await?
        .success()?;
    // The chart limits `get namespaces` to the namespaces it knows.
    let role = format!("{}-reads-namespace", env.namespace);
    let account = format!("--serviceaccount={}:tenant-kms", env.operator_namespace);
    let name = format!("--resource-name={second}");
    let args = [
        "create",
        "clusterrole",
        &role,
        "--verb=get",
        "--resource=namespaces",
        &name,
    ];
    env.control.kubectl(&args).await?.success()?;
    let binding = [
        "create",
        "clusterrolebinding",
        &role,
        &format!("--clusterrole={role}"),
        &account,
    ];
    env.control.kubectl(&binding).await?.success()?;
    let allowed = policy(&env.namespace).replace(
        &format!("'{}/*'", env.namespace),
        &format!("'{}/*', '{second}/*'", env.namespace),
    );
    env.write_config(&allowed);
    let both = format!("{},{second}", env.namespace);
    let options = env.operator_options().option("--watch-namespaces", both);
    let _operator = env.spawn(options).await?;
    world.active(RARELY).await?;

    let counted = calls(env);
    let mut intruder: Value = serde_yaml_ng::from_str(&manifest("acme", RARELY))?;
    intruder["metadata"]["namespace"] = json!(second);
    let apply = ["apply", "--server-side", "-f", "-"];
    env.control
        .kubectl_stdin(&apply, &intruder.to_string())
        .await?
        .success()?;
    let get = ["get", "tkms", "acme", "--namespace", &second, "-o", "json"];
    let intruder = async || -> Result<Value> {
        Ok(serde_json::from_str(
            &env.control.kubectl(&get).await?.success()?,
        )?)
    };
    eventually("the second claim is refused", SOON, async || {
        let object = intruder().await?;
        Ok(seen::row(&object) == FAILED && seen::reason(&object, "Ready") == "KeyRefConflict")
    })
    .await?;
    ensure!(
        calls(env) == counted,
        "a call for the second: {:?} of {counted:?}",
        calls(env)
    );
    let object = intruder().await?;
    let told = object["status"].to_string();
    ensure!(
        !told.contains(&format!("{}/", env.namespace)),
        "the owner is not told: {told}"
    );

    // The first one moves to another key: the second one's next try may have the old one.
    let new = world.vault.create_key("another-key");
    world.vault.grant(world.app.principal(), Scope::Vault);
    let key = json!({ "spec": { "kmsKeyRef": new.url() } }).to_string();
    patch(env, "acme", false, "merge", &key).await?;
    let moved =
        |object: &Value| seen::row(object) == ACTIVE && object["status"]["observedGeneration"] == 2;
    env.wait("acme", "moved to another key", SOON, moved)
        .await?;
    let ask = r#"--patch={"metadata":{"annotations":{"tenantkms.dev/verify-requested-at":"now"}}}"#;
    let args = [
        "patch",
        "tkms",
        "acme",
        "--namespace",
        &second,
        "--type=merge",
        ask,
    ];
    env.control.kubectl(&args).await?.success()?;
    eventually("the key let go serves the second", SOON, async || {
        Ok(seen::row(&intruder().await?) == ACTIVE)
    })
    .await
}

#[tokio::test]
async fn the_operators_own_rights_write_no_spec() -> Result<()> {
    let world = World::new("no-spec").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    operator.terminate().await?;
    let as_operator = async |change: &str| -> Result<String> {
        let change = format!("--patch={change}");
        let args = [
            "patch",
            "tkms",
            "acme",
            "--namespace",
            &env.namespace,
            "--type=merge",
            &change,
        ];
        let output = env
            .control
            .kubectl_as(&env.operator_kubeconfig, &args)
            .await?;
        ensure!(!output.status, "taken: {change}");
        Ok(output.stderr)
    };
    // A policy takes a moment to be in force; the API server has no condition to wait for.
    let harmless = r#"--patch={"metadata":{"annotations":{"x":"y"}}}"#;
    eventually("the policy is in force", SOON, async || {
        let args = [
            "patch",
            "tkms",
            "acme",
            "--namespace",
            &env.namespace,
            "--type=merge",
            harmless,
            "--dry-run=server",
        ];
        Ok(!env
            .control
            .kubectl_as(&env.operator_kubeconfig, &args)
            .await?
            .status)
    })
    .await?;
    let before = env.tenant("acme").await?;
    for (change, words) in [
        (r#"{"spec":{"suspend":true}}"#, "may not change the spec"),
        (
            r#"{"spec":{"kmsKeyRef":"https://evil-kv.vault.azure.net/keys/k"}}"#,
            "may not change the spec",
        ),
        (
            r#"{"metadata":{"annotations":{"tenantkms.dev/unseal-requested-at":"now"}}}"#,
            "may change no annotation",
        ),
        (
            r#"{"metadata":{"labels":{"x":"y"}}}"#,
            "may not change labels",
        ),
        (
            r#"{"metadata":{"finalizers":["x.example/y"]}}"#,
            "may not change labels",
        ),
    ] {
        let said = as_operator(change).await?;
        ensure!(said.contains(words), "{change}: {said}");
    }
    let delete = ["delete", "tkms", "acme", "--namespace", &env.namespace];
    let deleted = env
        .control
        .kubectl_as(&env.operator_kubeconfig, &delete)
        .await?;
    ensure!(
        !deleted.status && deleted.stderr.contains("forbidden"),
        "{}",
        deleted.stderr
    );
    ensure!(env.tenant("acme").await? == before);
    Ok(())
}
