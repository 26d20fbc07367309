//! Whose an object and a key are: one installation's, one namespace's, and its spec a person's.

use std::time::Duration;

use anyhow::{Result, ensure};
use fakecloud::{FakeCloud, Scope};
use serde_json::{Value, json};

use crate::lifecycle::{ACTIVE, FAILED, RARELY, break_glass, rights};
use crate::seen::{self, calls, eventually, patch, record, throughout, writes};
use crate::support::{SOON, World, manifest, policy};

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

/// Another namespace whose tenants this operator may serve.
pub async fn second_namespace(world: &World) -> Result<String> {
    let env = &world.env;
    let second = format!("{}-b", env.namespace);
    env.control
        .kubectl(&["create", "namespace", &second])
        .await?
        .success()?;
    let rights = rights(world, &second).await?;
    env.control
        .kubectl_stdin(&["apply", "-f", "-"], &rights)
        .await?
        .success()?;
    // The chart limits `get namespaces` to the namespaces it knows.
    let role = format!("{}-reads-namespace", env.namespace);
    let account = format!(
        "--serviceaccount={}:tenant-kms-operator",
        env.operator_namespace
    );
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
    Ok(second)
}

#[tokio::test]
async fn a_key_serves_one_namespace_until_it_is_let_go() -> Result<()> {
    let world = World::new("one-key").await?;
    let env = &world.env;
    let second = second_namespace(&world).await?;
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
    .await?;

    // The second is gone and its record too: the key is free again, without a restart.
    let back = json!({ "spec": { "kmsKeyRef": world.key.url() } }).to_string();
    patch(env, "acme", false, "merge", &back).await?;
    env.wait_condition(
        "acme",
        "ConfigAccepted",
        "False",
        Some("KeyRefConflict"),
        SOON,
    )
    .await?;
    let gone = ["delete", "tkms", "acme", "--namespace", &second];
    env.control.kubectl(&gone).await?.success()?;
    let label = format!("--selector=tenantkms.dev/tenant-namespace={second}");
    let records = &env.records_namespace;
    let record = ["delete", "secret", "--namespace", records, &label];
    break_glass(env).await?;
    eventually("the record may be deleted", SOON, async || {
        Ok(env.control.kubectl(&record).await?.status)
    })
    .await?;
    env.wait("acme", "back at the first key", 4 * SOON, |object| {
        seen::row(object) == ACTIVE && object["status"]["observedGeneration"] == 3
    })
    .await?;
    Ok(())
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
        // Of another key every release's policies in this cluster have a word to say.
        (
            r#"{"spec":{"verify":{"interval":"20s"}}}"#,
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
