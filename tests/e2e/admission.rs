//! What a real API server admits and refuses, and in which words; `admission/*.yaml` is the table.
//! Every request is a dry run or lives in a namespace of its own.

mod api;
mod secrets;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::ControlPlane;
use serde::Deserialize;
use serde_json::{Value, json};

use api::{Answer, Api, Validation, tenant};

/// A row: this spec, after `was` if that is given, is admitted or refused for these causes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "case")]
    about: String,
    #[serde(default)]
    was: Option<Value>,
    spec: Value,
    #[serde(default)]
    refused: Vec<String>,
}

/// The other keys of a file are anchors that its cases share.
#[derive(Deserialize)]
struct Table {
    cases: Vec<Case>,
}

fn table() -> Result<Vec<Case>> {
    let mut all = Vec::new();
    for text in [
        include_str!("admission/azure.yaml"),
        include_str!("admission/others.yaml"),
        include_str!("admission/common.yaml"),
    ] {
        let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
        file.apply_merge()?;
        all.extend(serde_yaml_ng::from_value::<Table>(file)?.cases);
    }
    Ok(all)
}

#[tokio::test]
async fn the_table_holds() -> Result<()> {
    let api = Api::new("admission-table").await?;
    let cases = table()?;
    ensure!(cases.len() >= 50, "only {} manifests", cases.len());
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let name = format!("case-{number}");
        let object = tenant(&name, &case.spec);
        let answer = if let Some(was) = &case.was {
            let stored = api
                .create(&tenant(&name, was), Validation::Strict, false)
                .await?;
            ensure!(
                stored.admitted(),
                "{}: `was` is refused: {}",
                case.about,
                stored.body
            );
            api.replace(&name, &object).await?
        } else {
            api.create(&object, Validation::Strict, true).await?
        };
        if let Err(why) = compare(case, &answer) {
            wrong.push(format!("{}: {why}", case.about));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Every expected cause is among the causes, and there is no other.
fn compare(case: &Case, answer: &Answer) -> Result<()> {
    if case.refused.is_empty() {
        ensure!(answer.admitted(), "refused: {}", answer.message());
        return Ok(());
    }
    ensure!(!answer.admitted(), "admitted");
    let causes = answer.causes();
    for expected in &case.refused {
        let (field, part) = expected.split_once(": ").unwrap_or(("", expected));
        let found = causes.iter().any(|(at, message)| {
            (field == at && message.contains(part)) || message.contains(expected.as_str())
        });
        ensure!(found, "no cause `{expected}` among {causes:?}");
    }
    ensure!(
        causes.len() == case.refused.len(),
        "more causes than expected: {causes:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_name_has_at_most_63_characters() -> Result<()> {
    let api = Api::new("admission-names").await?;
    let spec = json!({"provider": "local", "kmsKeyRef": "local://standard"});
    let longest = api
        .create(&tenant(&"a".repeat(63), &spec), Validation::Strict, true)
        .await?;
    ensure!(longest.admitted(), "{}", longest.body);
    let longer = api
        .create(&tenant(&"a".repeat(64), &spec), Validation::Strict, true)
        .await?;
    ensure!(
        longer
            .causes()
            .iter()
            .any(|(at, m)| at == "metadata.name" && m.contains("at most 63")),
        "{}",
        longer.body
    );
    Ok(())
}

/// What `kubectl get`, `kubectl explain` and kstatus see of an object that nobody has decided.
#[tokio::test]
async fn people_see_what_they_need() -> Result<()> {
    let api = Api::new("admission-view").await?;
    let control = ControlPlane::shared().await?;
    let spec = json!({"provider": "azure", "kmsKeyRef": "https://acme-kv.vault.azure.net/keys/k"});
    let created = api
        .create(&tenant("acme", &spec), Validation::Strict, false)
        .await?;
    ensure!(created.admitted(), "{}", created.body);
    let object: Value = serde_json::from_str(&created.body)?;
    ensure!(
        object["spec"] == spec,
        "the API server filled something in: {}",
        object["spec"]
    );
    ensure!(
        object["status"] == json!({"observedGeneration": -1}),
        "{}",
        object["status"]
    );

    let status = json!({"status": {
        "phase": "Sealed",
        "identity": "managed identity",
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "AccessDenied", "message": "no",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }});
    let patched = api.patch_status("acme", &status).await?;
    ensure!(patched.admitted(), "{}", patched.body);
    let get = ["get", "tkms", "acme", "-n", &api.namespace, "-o", "wide"];
    let listing = control.kubectl(&get).await?.success()?;
    let columns: Vec<_> = listing
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let expected = [
        "NAME", "PROVIDER", "PHASE", "REASON", "SINCE", "AGE", "KEY", "IDENTITY",
    ];
    ensure!(columns == expected, "{columns:?}");
    let row = listing.lines().nth(1).context("a row")?;
    for cell in [
        "acme",
        "azure",
        "Sealed",
        "AccessDenied",
        "managed identity",
    ] {
        ensure!(row.contains(cell), "{cell} is missing in {row}");
    }
    let by_category = control
        .kubectl(&["get", "byok", "-n", &api.namespace])
        .await?
        .success()?;
    ensure!(by_category.contains("acme"), "{by_category}");

    for (path, words) in [
        ("tkms.spec", "https://NAME.vault.azure.net/keys/KEY"),
        ("tkms.spec.verify", "5s to half of proofTTL"),
        ("tkms.spec.azure.clientSecret", "The NAME of a variable"),
    ] {
        explain(control, path, words).await?;
    }
    Ok(())
}

/// The server publishes a new definition's schema a moment after it serves the kind.
async fn explain(control: &ControlPlane, path: &str, words: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let output = control.kubectl(&["explain", path]).await?;
        let text = output
            .stdout
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        if output.status && text.contains(words) {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "kubectl explain {path} does not say `{words}`: {text}{}",
                output.stderr
            );
        }
    }
}
