//! A test's world, with a shell script in the operator's place: what it is
//! given, what it may do, and how it is watched and ended.

use std::ffi::OsString;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::{Env, OperatorOptions};
use serde_json::{Value, json};

const TENANT: &str = "
apiVersion: tenantkms.dev/v1alpha1
kind: TenantKms
metadata: { name: acme }
spec:
  provider: azure
  kmsKeyRef: https://acme-kv.vault.azure.net/keys/tenant-wrapping-key
";

const SOON: Duration = Duration::from_secs(20);

/// Options that run `script` instead of the operator.
fn script(env: &Env, script: &str) -> OperatorOptions {
    let mut options = env.operator_options();
    options.program = "/bin/sh".into();
    let script: [OsString; 3] = ["-c".into(), script.into(), "script".into()];
    options.args.splice(0..0, script);
    options
}

const SERVING: &str =
    r#"echo '{"fields":{"message":"metrics listening","address":"127.0.0.1:4242"}}'"#;

#[tokio::test]
async fn the_operator_gets_its_own_rights_and_nobody_elses() -> Result<()> {
    let (env, other) = (Env::new("rights").await?, Env::new("rights").await?);
    assert_ne!(env.namespace, other.namespace);
    let may = async |verb: &str, what: &str, namespace: &str| -> Result<bool> {
        let args = ["auth", "can-i", verb, what, "--namespace", namespace];
        let said = env
            .control
            .kubectl_as(&env.operator_kubeconfig, &args)
            .await?;
        assert!(
            said.stdout.starts_with("yes") || said.stdout.starts_with("no"),
            "{said:?}"
        );
        Ok(said.status)
    };
    let tenants = "tenantkmses.tenantkms.dev";
    assert!(may("watch", tenants, &env.namespace).await?);
    assert!(may("create", "secrets", &env.records_namespace).await?);
    assert!(!may("watch", tenants, &other.namespace).await?);
    assert!(!may("create", "secrets", &other.records_namespace).await?);
    assert!(!may("list", "secrets", &env.namespace).await?);
    Ok(())
}

#[tokio::test]
async fn the_operator_is_started_with_what_is_there_on_purpose() -> Result<()> {
    let env = Env::new("environment").await?;
    let options = script(
        &env,
        &format!("echo \"args: $*\"; env; {SERVING}; exec sleep 100"),
    );
    let options = options
        .env("EXTRA", "1")
        .without_env("HTTP_PROXY")
        .option("--log-format", "text");
    let operator = env.spawn(options).await?;
    assert_eq!(operator.metrics_url(), "http://127.0.0.1:4242");
    let log = operator.log();
    let expected = format!(
        "args: operator --config {} --records-namespace {ns}-records --watch-namespaces {ns} \
         --installation {ns} --secret-env-dir {} --local-kek-dir {} \
         --metrics-listen 127.0.0.1:0 --log-format text",
        env.config.display(),
        env.secret_dir.display(),
        env.kek_dir.display(),
        ns = env.namespace,
    );
    assert!(log.contains(&expected), "{log}");
    let mut names: Vec<_> = log
        .lines()
        .filter(|line| !line.starts_with("args:") && !line.starts_with('{'))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.to_owned()))
        .filter(|name| !matches!(name.as_str(), "PWD" | "OLDPWD" | "_" | "SHLVL"))
        .collect();
    let given = env.cloud.env().into_iter().map(|(name, _)| name);
    let mut expected: Vec<_> = given.filter(|name| name != "HTTP_PROXY").collect();
    expected.extend(["EXTRA", "KUBECONFIG", "PATH"].map(str::to_owned));
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    Ok(())
}

#[tokio::test]
async fn the_operator_can_be_paused_and_ended() -> Result<()> {
    let env = Env::new("ends").await?;
    let polite = format!("trap 'exit 3' TERM; {SERVING}; while :; do sleep 0.1; done");
    let operator = env.spawn(script(&env, &polite)).await?;
    // A signal is taken when the process runs next, which on a busy machine is not at once.
    let stands_still = async |still: bool| -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let state = fs::read_to_string(format!("/proc/{}/stat", operator.pid()))?;
            if state.contains(") T ") == still {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "{state}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    operator.pause()?;
    stands_still(true).await?;
    operator.resume()?;
    stands_still(false).await?;
    assert_eq!(operator.terminate().await?, 3);

    let operator = env.spawn(script(&env, &polite)).await?;
    operator.kill().await?;
    assert_eq!(operator.ended(SOON).await?, 128 + 9);

    let refuses = env.spawn(script(&env, "echo 'no config'; exit 2")).await;
    let error = format!("{:#}", refuses.expect_err("an operator that ends at once"));
    assert!(
        error.contains("code 2") && error.contains("no config"),
        "{error}"
    );
    let operator = env.spawn(script(&env, "exit 2").without_waiting()).await?;
    assert_eq!(operator.ended(SOON).await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_condition_counts_for_the_present_generation_only() -> Result<()> {
    let env = Env::new("waits").await?;
    env.apply(TENANT).await?.success()?;
    let generation = env.tenant("acme").await?["metadata"]["generation"].clone();
    let report = async |observed: serde_json::Value| -> Result<()> {
        let condition = json!({
            "type": "Active", "status": "True", "reason": "Verified", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": observed,
        });
        let patch = json!({ "status": { "conditions": [condition] } }).to_string();
        let args = [
            "patch",
            "tkms/acme",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        env.kubectl(&args).await?.success().map(drop)
    };
    let wait = |status: &'static str, within| {
        env.wait_condition("acme", "Active", status, Some("Verified"), within)
    };
    report(json!(0)).await?;
    // Waiting is under way when the change comes; what was said of an older generation is seen first.
    let report = async {
        let seen = |object: &Value| object["status"]["conditions"][0]["status"] == "True";
        env.wait("acme", "an older generation", SOON, seen).await?;
        report(generation.clone()).await
    };
    let (waited, reported) = tokio::join!(wait("True", SOON), report);
    reported?;
    let waited = waited?;
    assert_eq!(
        waited["status"]["conditions"][0]["observedGeneration"],
        generation
    );
    // The error tells what was seen at last.
    let error = wait("False", Duration::from_secs(3)).await;
    let error = format!("{:#}", error.expect_err("it is True"));
    assert!(error.contains("tenant-wrapping-key"), "{error}");
    Ok(())
}

#[tokio::test]
async fn files_are_replaced_and_writes_are_told_apart() -> Result<()> {
    let env = Env::new("files").await?;
    env.set_secret("AZURE_KC_CLIENT_SECRET", "one");
    env.set_secret("AZURE_KC_CLIENT_SECRET", "two");
    env.write_config("kind: Other\n");
    assert_eq!(
        fs::read_to_string(env.secret_dir.join("AZURE_KC_CLIENT_SECRET"))?,
        "two"
    );
    assert_eq!(fs::read_to_string(&env.config)?, "kind: Other\n");
    assert_eq!(
        fs::read_dir(&env.secret_dir)?.count(),
        1,
        "a leftover beside the secret"
    );

    assert!(env.operator_writes()?.is_empty());
    let records = env.records_namespace.as_str();
    let args = [
        "create",
        "secret",
        "generic",
        "tkms-0",
        "--namespace",
        records,
    ];
    env.control
        .kubectl_as(&env.operator_kubeconfig, &args)
        .await?
        .success()?;
    let writes = env.operator_writes()?;
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0]["objectRef"]["name"], "tkms-0");
    Ok(())
}

#[tokio::test]
async fn a_secret_in_an_operators_log_fails_the_test() -> Result<()> {
    for (logged, told) in [("s3cr3t~of%20the client", true), ("nothing", false)] {
        let env = Env::new("leak").await?;
        env.set_secret("A_SECRET", "s3cr3t~of%20the client");
        let logs = format!("echo 'token {logged} refused'; {SERVING}; exec sleep 100");
        let operator = env.spawn(script(&env, &logs)).await?;
        operator.kill().await?;
        let end = catch_unwind(AssertUnwindSafe(|| drop(env)));
        assert_eq!(end.is_err(), told, "{logged}");
    }
    Ok(())
}
