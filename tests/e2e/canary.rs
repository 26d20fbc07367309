//! Secrets stay where they belong: after failures of every kind, with a cloud that echoes them in
//! every field, none is found in what people, logs, metrics or etcd's files get to see.

mod lent;

use std::fs;

use anyhow::{Context, Result, ensure};
use fakecloud::{ENTRA_HOST, Effect, Fault, Scope};
use harness::search::{Place, etcd, found, needles, place};
use harness::{Operator, OperatorOptions};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::seen::eventually;
use crate::support::{DIRECTORY, SECRET, SOON, VARIABLE, World, manifest};

/// A secret that looks like a code or a request id.
const PLAIN: &str = "s3cr3t.canary-of-plain-letters";
const WRONG: &str = "wr0ng~canary-that-nobody-knows";
const OFTEN: &str = "{ interval: 5s, proofTTL: 1m }";

/// What a hostile cloud may answer, with `echo` wherever there is room.
fn echoes(echo: &str) -> Vec<Effect> {
    let dirty = format!("{echo}\u{1b}[31m\r\n\u{0}\u{7}<script>{echo}</script>'; rm -rf / #");
    let headers = |value: &str| {
        [
            "x-ms-request-id",
            "www-authenticate",
            "x-ms-keyvault-region",
            "location",
            "server",
            "date",
        ]
        .map(|name| (name.to_owned(), value.to_owned()))
        .to_vec()
    };
    let vault = json!({ "error": {
        "code": dirty, "message": dirty, "innererror": { "code": dirty, "message": dirty },
    }, dirty.clone(): dirty })
    .to_string();
    let forbidden = json!({ "error": {
        "code": "Forbidden", "message": dirty, "innererror": { "code": PLAIN },
    } })
    .to_string();
    let entra = json!({
        "error": dirty, "error_description": format!("AADSTS7000215: {dirty}"),
        "error_codes": [7_000_215], "trace_id": dirty, "correlation_id": PLAIN, "error_uri": dirty,
        "access_token": dirty, "token_type": dirty, "expires_in": dirty,
    })
    .to_string();
    let key = json!({ "kid": dirty, "value": echo, "alg": dirty }).to_string();
    let answer = |status, body: &str, header: &str, after: Option<&str>| Effect::Status {
        status,
        body: body.to_owned(),
        retry_after: after.map(str::to_owned),
        headers: headers(header),
    };
    let body = |text: &str| Effect::Body {
        content_type: "application/json".to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    vec![
        answer(400, &vault, PLAIN, None),
        answer(403, &forbidden, PLAIN, None),
        answer(400, &entra, PLAIN, None),
        answer(
            401,
            &vault,
            echo.split(' ').next().unwrap_or_default(),
            None,
        ),
        answer(429, &dirty, SECRET, Some(PLAIN)),
        answer(500, &dirty, WRONG, None),
        body(&key),
        body(&dirty),
        body(&entra),
        Effect::Redirect(format!(
            "https://evil.example/?token={PLAIN}&secret={SECRET}"
        )),
        Effect::BigBody(10 << 20),
        Effect::Hang,
    ]
}

/// Waits until every tenant has reported a failure.
async fn all_failed(world: &World, names: &[String]) -> Result<()> {
    for name in names {
        let failed = |object: &Value| object["status"]["lastVerifyError"].is_object();
        world
            .env
            .wait(name, "a failure is reported", 2 * SOON, failed)
            .await?;
    }
    Ok(())
}

/// Every kind of answer, from each vault another, then from Entra one after the other.
async fn provoke(world: &World) -> Result<(Vec<Operator>, Vec<String>)> {
    let env = &world.env;
    let logging = |options: OperatorOptions, format: &str| {
        options
            .option("--log-format", format)
            .env("TENANT_KMS_LOG", "debug")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
    };
    let json_log = env.spawn(logging(env.operator_options(), "json")).await?;
    let directory = env.cloud.directory(DIRECTORY);
    let mut names = Vec::new();
    names.extend(lent::lend(world).await?);
    for (number, _) in echoes("").iter().enumerate() {
        let vault = env.cloud.vault(&format!("echo-{number}"), &directory);
        vault.create_key("tenant-wrapping-key");
        vault.grant(world.app.principal(), Scope::Vault);
        let name = format!("echo-{number}");
        let yaml = manifest(&name, OFTEN).replace("acme-kv", &name);
        env.apply(&yaml).await?.success()?;
        names.push(name);
    }
    for name in &names {
        env.wait_condition(name, "Active", "True", None, 2 * SOON)
            .await?;
    }
    let echo = format!("{} {SECRET} {PLAIN}", env.cloud.issued().join(" "));
    ensure!(echo.matches("eyJ").count() >= names.len(), "tokens to echo");
    let mut effects = echoes(&echo);
    effects.extend(effects[..names.len() - effects.len()].to_vec());
    for (name, effect) in names.iter().rev().zip(effects) {
        env.cloud
            .fault(Fault::on(&format!("{name}.vault.azure.net"), effect));
    }
    all_failed(world, &names).await?;
    let metrics = json_log.metrics().await?;
    ensure!(metrics.contains("tenantkms_attempts_total"), "{metrics}");
    json_log.terminate().await?;

    // Again as text, with Entra as the one that echoes, then with a wrong and with another secret.
    let echo = format!("{} {SECRET} {PLAIN}", env.cloud.issued().join(" "));
    let text_log = env
        .spawn(logging(env.operator_options(), "text").without_waiting())
        .await?;
    for effect in echoes(&echo)
        .into_iter()
        .filter(|effect| !matches!(effect, Effect::Hang))
    {
        env.cloud.clear_faults();
        env.cloud
            .fault(Fault::on(ENTRA_HOST, effect).operation("token"));
        let before = env.cloud.count(ENTRA_HOST, "token");
        eventually("Entra's echo was heard", 2 * SOON, async || {
            Ok(env.cloud.count(ENTRA_HOST, "token") >= before + 6)
        })
        .await?;
    }
    env.cloud.clear_faults();
    env.set_secret(VARIABLE, WRONG);
    let rejected =
        |object: &Value| object["status"]["lastVerifyError"]["reason"] == "CredentialRejected";
    env.wait("echo-0", "a wrong secret", 3 * SOON, rejected)
        .await?;
    world.app.add_secret(PLAIN);
    env.set_secret(VARIABLE, PLAIN);
    let last = &names[names.len() - 1];
    env.wait_condition(last, "Active", "True", None, 3 * SOON)
        .await?;
    lent::spoil(world, &names[..2]).await?;
    let vault = env.cloud.vault(last, &directory);
    vault.revoke(world.app.principal());
    env.wait_condition(last, "Sealed", "True", Some("AccessDenied"), SOON)
        .await?;
    Ok((vec![json_log, text_log], vec![metrics]))
}

/// What kubectl and the command line say to people who paste a secret where none belongs.
async fn refusals(world: &World) -> Result<Vec<Place>> {
    let env = &world.env;
    let mut places = Vec::new();
    let good = manifest("pasted", "");
    for (what, yaml) in [
        ("a variable", good.replace(VARIABLE, PLAIN)),
        (
            "a reference",
            good.replace("/keys/tenant", &format!("/keys/{SECRET}/tenant")),
        ),
        ("a client id", good.replace(crate::support::CLIENT, SECRET)),
        (
            "an unknown field",
            good.replace("azure:\n", &format!("azure:\n    password: {SECRET}\n")),
        ),
    ] {
        let output = env.apply(&yaml).await?;
        ensure!(
            !output.status && !output.stderr.is_empty(),
            "{what} is taken"
        );
        places.push(place(what, output.stdout + &output.stderr));
    }
    let write = |name: &str, text: &str| -> Result<String> {
        let path = env.dir.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let tenant = write(
        "tenant.yaml",
        &manifest("acme", "").replace(
            "name: acme",
            &format!("name: acme, namespace: {}", env.namespace),
        ),
    )?;
    let config = fs::read_to_string(&env.config)?;
    let bad = [
        write("bad-1.yaml", &config.replace(VARIABLE, SECRET))?,
        write("bad-2.yaml", &format!("{config}clientSecret: {SECRET}\n"))?,
        write("bad-3.yaml", &format!("{config}: {SECRET}: [\n"))?,
        write("bad-4.yaml", &config.replace("OperatorConfig", SECRET))?,
    ];
    let (file, secrets) = (
        env.config.display().to_string(),
        env.secret_dir.display().to_string(),
    );
    let verify = [
        "verify",
        "-f",
        &tenant,
        "--config",
        &file,
        "--secret-env-dir",
        &secrets,
    ];
    let mut commands = vec![[&verify[..], &["-o", "json"]].concat(), verify.to_vec()];
    for path in &bad {
        commands.push(vec!["config", "check", path]);
        commands.push(vec!["verify", "-f", path]);
        commands.push(vec![
            "operator",
            "--metrics-listen",
            "127.0.0.1:0",
            "--config",
            path,
        ]);
    }
    env.set_secret(VARIABLE, WRONG);
    for args in commands {
        let mut command = tokio::process::Command::new(env.operator_options().program);
        command
            .args(&args)
            .env_clear()
            .envs(env.cloud.env())
            .env("KUBECONFIG", &env.operator_kubeconfig);
        command.kill_on_drop(true);
        let output = tokio::time::timeout(2 * SOON, command.output())
            .await
            .with_context(|| format!("{args:?} goes on"))??;
        ensure!(!output.status.success(), "{args:?} succeeds");
        ensure!(
            !output.stdout.is_empty() || !output.stderr.is_empty(),
            "{args:?} says nothing"
        );
        places.push(place(
            &format!("{args:?}"),
            [output.stdout, output.stderr].concat(),
        ));
    }
    Ok(places)
}

#[tokio::test]
async fn no_secret_is_found_anywhere() -> Result<()> {
    let world = World::new("canary").await?;
    let env = &world.env;
    let (operators, metrics) = provoke(&world).await?;
    let mut places = refusals(&world).await?;

    // A Secret and an annotation of the test's own show that etcd's files are really searched.
    let marker = |what: &str| format!("marker-{what}-{}", env.namespace);
    let literal = format!("--from-literal=x={}", marker("secret"));
    env.kubectl(&["create", "secret", "generic", "marker", &literal])
        .await?
        .success()?;
    let annotation = format!("example.com/marker={}", marker("annotation"));
    env.kubectl(&["annotate", "tkms", "echo-0", &annotation])
        .await?
        .success()?;

    let mut seen = Vec::new();
    for args in [
        &["get", "tkms", "-o", "yaml", "--show-managed-fields"][..],
        &["describe", "tkms"],
        &["get", "events", "-o", "yaml"],
        &["get", "events.events.k8s.io", "-o", "yaml"],
    ] {
        seen.push(place(&args.join(" "), env.kubectl(args).await?.success()?));
    }
    for (number, operator) in operators.iter().enumerate() {
        seen.push(place(&format!("log {number}"), operator.log()));
    }
    for text in metrics {
        seen.push(place("metrics", text));
    }
    let records: Api<Secret> = Api::namespaced(env.client().await?, &env.records_namespace);
    let mut text = Vec::new();
    for record in records.list(&ListParams::default()).await? {
        text.extend(
            record
                .data
                .into_iter()
                .flatten()
                .flat_map(|(_, bytes)| bytes.0),
        );
    }
    seen.push(place("records", text));
    seen.push(place("audit log", fs::read(env.control.audit_log())?));
    let mut files = Vec::new();
    // The database takes a moment to hold what its log holds.
    eventually("etcd's files hold the markers", SOON, async || {
        files.clear();
        etcd(env.control.etcd_dir(), &mut files)?;
        Ok(["secret", "annotation"].iter().all(|what| {
            let found = found(&files, &needles(&[marker(what)]));
            ["/wal/", "/snap/db"]
                .iter()
                .all(|part| found.iter().any(|name| name.contains(part)))
        }))
    })
    .await?;

    // Every place can be searched: what does stand there is found.
    let namespace = [env.namespace.clone()];
    let known = found(&seen, &needles(&namespace));
    ensure!(known.len() == seen.len(), "only found in {known:#?}");
    let log = |number: usize| operators[number].log();
    ensure!(log(0).contains("Unreachable") && log(1).contains("CredentialRejected"));

    let account: Value = serde_json::from_slice(&fs::read(&env.operator_kubeconfig)?)?;
    let account = account["users"][0]["user"]["token"]
        .as_str()
        .context("a token")?
        .to_owned();
    let mut canaries = env.cloud.issued();
    canaries.extend([SECRET, PLAIN, WRONG].map(str::to_owned));
    ensure!(canaries.len() > 20, "only {} canaries", canaries.len());
    canaries.push(account);
    lent::forget_itself(env, &canaries, &mut files)?;
    places.append(&mut seen);
    places.append(&mut files);
    let leaks = found(&places, &needles(&canaries));
    ensure!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}
