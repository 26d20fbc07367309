//! Argo CD: the health check that users copy, run as Argo CD runs it, on objects as the real
//! operator leaves them; and what the example promises about order and about the records.

use std::fs;

use anyhow::{Context, Result, anyhow, ensure};
use harness::{ControlPlane, repository};
use mlua::{Lua, LuaOptions, LuaSerdeExt, StdLib};
use serde::Deserialize;
use serde_json::{Value, json};

const KEY: &str = "resource.customizations.health.tenantkms.dev_TenantKms";

fn read(file: &str) -> Result<Value> {
    let path = repository().join("examples/argo-cd").join(file);
    let text = fs::read_to_string(&path).with_context(|| file.to_owned())?;
    let mut documents = serde_yaml_ng::Deserializer::from_str(&text);
    let document = documents.next().context("empty")?;
    Ok(Value::deserialize(document)?)
}

/// Status and message that the script `key` gives an object. Argo CD hands scripts the base and
/// table libraries only.
fn judge(key: &str, object: &Value) -> Result<(String, String)> {
    let config = read("argocd-cm.yaml")?;
    let script = config["data"][key].as_str().context("no such script")?;
    run(script, object).map_err(|error| anyhow!("{error}")) // no error of Lua's can be sent
}

fn run(script: &str, object: &Value) -> mlua::Result<(String, String)> {
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default())?;
    lua.globals().set("obj", lua.to_value(object)?)?;
    let health: mlua::Table = lua.load(script).eval()?;
    Ok((health.get("status")?, health.get("message")?))
}

/// Says no unless the health check gives the object this status, and Ready's own words.
pub fn expect_health(object: &Value, wanted: &str) -> Result<()> {
    let (status, message) = judge(KEY, object)?;
    ensure!(status == wanted, "{status}, not {wanted}: {object}");
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions
        .and_then(|all| all.iter().find(|one| one["type"] == "Ready"))
        .context("no condition Ready")?;
    let words = ready["message"].as_str().unwrap_or_default();
    ensure!(message.ends_with(words), "{message}: {words}");

    // Argo CD sees a change of the spec before the operator does: then nothing is known.
    let mut newer = object.clone();
    let generation = newer["metadata"]["generation"].as_i64().unwrap_or_default();
    newer["metadata"]["generation"] = json!(generation + 1);
    ensure!(judge(KEY, &newer)?.0 == "Progressing", "{newer}");
    let mut blank = object.clone();
    blank["status"] = Value::Null;
    ensure!(judge(KEY, &without_nulls(blank))?.0 == "Progressing");
    Ok(())
}

/// As Argo CD sees an object: what is absent is absent.
fn without_nulls(mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    object
}

#[test]
fn an_application_is_as_healthy_as_it_says() -> Result<()> {
    let key = "resource.customizations.health.argoproj.io_Application";
    let of = |object: Value| judge(key, &object).map(|(status, _)| status);
    ensure!(of(json!({}))? == "Progressing");
    ensure!(of(json!({ "status": { "health": { "status": "Healthy" } } }))? == "Healthy");
    Ok(())
}

#[test]
fn the_records_come_first_and_nothing_is_pruned() -> Result<()> {
    let mut last = i64::MIN;
    for file in ["records-namespace.yaml", "operator.yaml", "tenants.yaml"] {
        let object = read(&format!("apps/{file}"))?;
        let note = |name: &str| {
            let notes = &object["metadata"]["annotations"];
            let text = notes[format!("argocd.argoproj.io/{name}")].as_str();
            text.unwrap_or_default().to_owned()
        };
        let wave: i64 = note("sync-wave").parse().context(file)?;
        ensure!(wave > last, "{file} comes in wave {wave}, after {last}");
        last = wave;
        ensure!(note("sync-options") == "Prune=false,Delete=false", "{file}");
        ensure!(object["metadata"]["finalizers"].is_null(), "{file}");
    }
    for file in ["root.yaml", "apps/operator.yaml", "apps/tenants.yaml"] {
        let application = read(file)?;
        ensure!(application["kind"] == "Application");
        let automated = &application["spec"]["syncPolicy"]["automated"];
        ensure!(automated["prune"] == false, "{file}");
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_what_argo_cd_would_apply() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let operator = read("apps/operator.yaml")?;
    let source = &operator["spec"]["source"];
    let folder = tempfile::tempdir()?;
    let values = folder.path().join("values.json");
    fs::write(&values, source["helm"]["valuesObject"].to_string())?;
    let chart = repository().join(source["path"].as_str().context("path")?);
    let (chart, values) = (chart.display().to_string(), values.display().to_string());
    let release = source["helm"]["releaseName"].as_str().context("release")?;
    let args = ["template", release, &chart, "-n", "default", "-f", &values];
    let rendered = control.helm(&args).await?.success()?;
    let namespace = read("apps/records-namespace.yaml")?;
    let name = namespace["metadata"]["name"].as_str().context("name")?;
    ensure!(rendered.contains(name), "the operator keeps records there");
    ensure!(
        !rendered.contains("\nkind: Namespace\n"),
        "the namespace is the example's alone"
    );
    // What is only tried needs a namespace that exists.
    let rendered = rendered.replace(name, "default");
    for text in [
        rendered,
        namespace.to_string(),
        read("argocd-cm.yaml")?
            .to_string()
            .replace("\"namespace\":\"argocd\"", "\"namespace\":\"default\""),
    ] {
        let args = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--force-conflicts",
            "-f",
            "-",
        ];
        let tried = control.kubectl_stdin(&args, &text).await?;
        ensure!(tried.status, "{}", tried.stderr);
    }
    Ok(())
}
