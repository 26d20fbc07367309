//! A raw secret in every field of the schema: whatever the API server and kubectl answer, they
//! never repeat it. The fields come from the definition itself, so that a new one is covered.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::{Map, Value, json};

use super::api::{Answer, Api, Validation, tenant};

/// Part of every secret below, and of nothing else.
const MARK: &str = "CaNaRy7Zq";

/// What people paste, each with the mark in the middle.
fn secrets() -> Vec<(&'static str, String)> {
    let pem = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n".repeat(20);
    vec![
        ("a long one", format!("{MARK}~{}", "k3/+=".repeat(40))),
        (
            "an Azure client secret",
            format!("abc8Q~{MARK}.lx0GqF_1zT7yQWbnVt-aRk4C"),
        ),
        (
            "an AWS secret access key",
            format!("wJalrXUtnFEMI/{MARK}/bPxRfiCYEXAMPLE"),
        ),
        (
            "letters and digits",
            format!("{MARK}kR7dLwX2mQ9vTz4bNc8sYf1gHj6pAe3u"),
        ),
        (
            "a private key",
            format!("-----BEGIN PRIVATE KEY-----\n{pem}{MARK}\n-----END PRIVATE KEY-----\n"),
        ),
        (
            "a service-account file",
            json!({"type": "service_account", "private_key": format!("{MARK}\n")}).to_string(),
        ),
        (
            "one that is too long for any field",
            format!("{MARK}{}", "x".repeat(100_000)),
        ),
    ]
}

/// A place in the schema.
struct Field {
    /// `spec.masterKey.erasedIds[]`: the items of a list are a place of their own.
    path: String,
    /// Whether server-side apply expects one scalar (or anything at all) here.
    scalar: bool,
}

/// Spec, everything below it, and status, which a manifest may carry too.
fn fields() -> Result<Vec<Field>> {
    let root = root()?;
    let mut found = Vec::new();
    for name in ["spec", "status"] {
        let schema = root
            .properties
            .as_ref()
            .and_then(|p| p.get(name))
            .context(name)?;
        collect(name, schema, &mut found);
    }
    Ok(found)
}

fn root() -> Result<JSONSchemaProps> {
    let version = tenant_kms::api::crd::crd().spec.versions.into_iter().next();
    version
        .and_then(|v| v.schema)
        .and_then(|s| s.open_api_v3_schema)
        .context("a schema")
}

fn collect(path: &str, schema: &JSONSchemaProps, found: &mut Vec<Field>) {
    let scalar = matches!(schema.type_.as_deref(), None | Some("string"));
    found.push(Field {
        path: path.into(),
        scalar,
    });
    for (name, property) in schema.properties.iter().flatten() {
        collect(&format!("{path}.{name}"), property, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect(&format!("{path}[]"), items, found);
    }
}

/// A tenant that would be admitted but for `value` at `path`.
fn with(path: &str, value: &str) -> Result<Value> {
    let provider = ["aws", "gcp"]
        .into_iter()
        .find(|p| path.starts_with(&format!("spec.{p}")));
    let spec = match provider {
        Some("aws") => json!({
            "provider": "aws",
            "kmsKeyRef": "arn:aws:kms:eu-central-1:111122223333:alias/acme",
        }),
        Some(_) => json!({
            "provider": "gcp",
            "kmsKeyRef": "projects/acme-keys/locations/l/keyRings/r/cryptoKeys/k",
        }),
        None => {
            json!({"provider": "azure", "kmsKeyRef": "https://acme-kv.vault.azure.net/keys/k"})
        }
    };
    let mut object = tenant("acme", &spec);
    put(&mut object, &root()?, path, value);
    Ok(object)
}

/// Objects on the way get their required fields, or the rules beside the value would not run.
fn put(object: &mut Value, schema: &JSONSchemaProps, path: &str, value: &str) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = step.trim_end_matches("[]");
    let Some(below) = schema.properties.as_ref().and_then(|p| p.get(name)) else {
        return;
    };
    let items = match &below.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) if step.ends_with("[]") => Some(items),
        _ => None,
    };
    object[name] = match (items, rest) {
        // Twice: a list that is a set would name the duplicate.
        (Some(_), "") => json!([value, value]),
        (None, "") => json!(value),
        (Some(items), _) => {
            let mut item = required(items);
            put(&mut item, items, rest, value);
            json!([item])
        }
        (None, _) => {
            let mut inner = match object[name].take() {
                Value::Null => required(below),
                there => there,
            };
            put(&mut inner, below, rest, value);
            inner
        }
    };
}

fn required(schema: &JSONSchemaProps) -> Value {
    let names = schema.required.iter().flatten();
    let value = |name: &String| {
        let below = schema.properties.as_ref().and_then(|all| all.get(name));
        match below.filter(|below| below.type_.as_deref() == Some("object")) {
            Some(below) => required(below),
            None => json!("x"),
        }
    };
    Value::Object(
        names
            .map(|name| (name.clone(), value(name)))
            .collect::<Map<_, _>>(),
    )
}

/// Server-side apply compares types before admission and before the schema, in
/// structured-merge-diff, whose error prints what stands where an object, a list or a boolean
/// belongs. No definition can change that; every other way of writing is silent there too.
fn repeated_by_server_side_apply(field: &Field, answer: &Answer) -> bool {
    !field.scalar
        && answer
            .message()
            .starts_with("failed to create typed patch object")
}

#[tokio::test]
async fn no_refusal_repeats_a_secret() -> Result<()> {
    let api = Api::new("admission-secrets").await?;
    let plain = json!({"provider": "azure", "kmsKeyRef": "https://acme-kv.vault.azure.net/keys/k"});
    let stored = api
        .create(&tenant("stored", &plain), Validation::Strict, false)
        .await?;
    ensure!(stored.admitted(), "{}", stored.body);
    let fields = fields()?;
    ensure!(fields.len() > 80, "only {} fields", fields.len());
    let (mut refused, mut wrong) = (0, Vec::new());
    let short = |answer: &Answer| answer.message().chars().take(300).collect::<String>();
    for (kind, secret) in secrets() {
        for field in &fields {
            let object = with(&field.path, &secret)?;
            let mut update = object.clone();
            update["metadata"]["name"] = json!("stored");
            let answers = [
                (
                    "create",
                    api.create(&object, Validation::Strict, true).await?,
                ),
                (
                    "create, warn",
                    api.create(&object, Validation::Warn, true).await?,
                ),
                (
                    "merge patch",
                    api.merge("stored", &update, Validation::Strict).await?,
                ),
                (
                    "apply",
                    api.apply("acme", &object, Validation::Strict).await?,
                ),
                (
                    "apply, warn",
                    api.apply("stored", &update, Validation::Warn).await?,
                ),
            ];
            for (how, answer) in answers {
                let told = answer.body.contains(MARK) && !answer.admitted();
                let warned = answer.warnings.iter().any(|w| w.contains(MARK));
                let theirs =
                    how.starts_with("apply") && repeated_by_server_side_apply(field, &answer);
                if warned || told && !theirs {
                    wrong.push(format!(
                        "{kind} in {}, {how}: {}",
                        field.path,
                        short(&answer)
                    ));
                }
                let must_refuse = field.path.starts_with("spec") && secret.contains('~');
                if must_refuse && answer.admitted() {
                    wrong.push(format!("{kind} in {}, {how}: admitted", field.path));
                }
                refused += usize::from(!answer.admitted());
            }
        }
    }
    ensure!(refused > 1000, "only {refused} refusals were looked at");
    ensure!(
        wrong.is_empty(),
        "{} answers:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

#[tokio::test]
async fn neither_does_kubectl() -> Result<()> {
    let control = ControlPlane::shared().await?;
    Api::new("admission-kubectl").await?;
    for args in [
        ["create", "--validate=strict"].as_slice(),
        ["create", "--validate=warn"].as_slice(),
        ["apply", "--validate=strict"].as_slice(),
        ["apply", "--server-side", "--validate=strict"].as_slice(),
        ["apply", "--server-side", "--validate=warn"].as_slice(),
    ] {
        let server_side = args.contains(&"--server-side");
        let (mut manifests, mut written) = (String::new(), 0);
        for (_, secret) in secrets().iter().filter(|(_, s)| s.len() < 10_000) {
            for field in fields()?.iter().filter(|f| f.scalar || !server_side) {
                let mut object = with(&field.path, secret)?;
                object["metadata"]["name"] = json!(format!("acme-{written}"));
                writeln!(manifests, "---\n{object}")?;
                written += 1;
            }
        }
        let fixed = ["--dry-run=server", "-n", "admission-kubectl", "-f", "-"];
        let output = control
            .kubectl_stdin(&[args, &fixed].concat(), &manifests)
            .await?;
        ensure!(!output.status, "{args:?} admitted everything");
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(
            !said.contains(MARK),
            "{args:?} repeats a secret: {}",
            around(&said)
        );
        let answers = said.matches("dry run").count()
            + said.matches("is invalid").count()
            + said.matches("Error from server").count();
        ensure!(
            answers >= written,
            "{args:?}: {answers} answers to {written} manifests"
        );
    }
    Ok(())
}

/// The line that told, for the message of a failing test.
fn around(said: &str) -> &str {
    said.lines()
        .find(|line| line.contains(MARK))
        .unwrap_or_default()
}
