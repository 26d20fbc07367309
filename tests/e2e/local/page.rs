//! docs/standard-tenants.md, carried out: a shell reads every block, the API server takes the
//! commands that make and rotate the Secret, and what is in it then are keys.

use std::fs;

use anyhow::{Context, Result, ensure};
use harness::{Env, repository};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;
use tokio::process::Command;

use super::{grant, standard};
use crate::lifecycle::{ACTIVE, RARELY};
use crate::readme::parses;
use crate::seen::wait_row;
use crate::support::SOON;

pub const PAGE: &str = "docs/standard-tenants.md";
const SECRET: &str = "tenant-kms-local-kek";

/// The block of one language with this number.
pub fn block(page: &str, language: &str, number: usize) -> Result<String> {
    let found = blocks(page, language).nth(number);
    found.with_context(|| format!("no {language} block {number}"))
}

fn blocks<'a>(page: &'a str, language: &str) -> impl Iterator<Item = String> + use<'a> {
    let fence = format!("```{language}\n");
    let rest: Vec<&str> = page.split(&fence).skip(1).collect();
    let text = rest.into_iter().filter_map(|rest| rest.split_once("```"));
    text.map(|(text, _)| text.to_owned())
}

/// Runs `producer | kubectl …` with the test's namespace and kubectl.
async fn pipe(env: &Env, block: &str) -> Result<()> {
    let (producer, kubectl) = block.split_once("|\n").context("a pipe")?;
    // What openssl gives, from what every machine has.
    let random = "openssl() { head -c 32 /dev/urandom | base64; }";
    let script = format!("{random}\n{producer}");
    let ran = Command::new("sh").args(["-c", &script]).output().await?;
    ensure!(ran.status.success(), "{producer}");
    let made = String::from_utf8(ran.stdout)?;
    let kubectl = kubectl.replace("tenant-kms-system", &env.operator_namespace);
    let args: Vec<&str> = kubectl.split_whitespace().skip(1).collect();
    let done = env.control.kubectl_stdin(&args, &made).await?;
    ensure!(done.status, "{kubectl}: {}", done.stderr);
    Ok(())
}

/// What the kubelet would mount.
async fn mount(env: &Env) -> Result<Vec<String>> {
    let secrets: Api<Secret> = Api::namespaced(env.client().await?, &env.operator_namespace);
    let data = secrets.get(SECRET).await?.data.unwrap_or_default();
    for (file, content) in &data {
        env.put_kek(file, &content.0);
    }
    Ok(data.into_keys().collect())
}

#[tokio::test]
async fn the_commands_of_the_page_make_and_rotate_a_key() -> Result<()> {
    let page = fs::read_to_string(repository().join(PAGE))?;
    let all: Vec<String> = blocks(&page, "sh").collect();
    for block in &all {
        parses(block).await?;
    }
    let env = Env::new("localpage").await?;
    let making = |verb: &str| all.iter().find(|block| block.contains(verb)).cloned();
    pipe(&env, &making("create secret").context("no create")?).await?;
    ensure!(mount(&env).await? == ["standard.1"]);
    env.write_config(&grant(&env));
    let _operator = env.operator().await?;
    env.apply(&standard(&env.namespace, RARELY))
        .await?
        .success()?;
    wait_row(&env, "acme", ACTIVE, SOON).await?;

    pipe(&env, &making("patch secret").context("no patch")?).await?;
    ensure!(mount(&env).await? == ["standard.1", "standard.2"]);
    let annotate = making("annotate").context("no annotate")?;
    let annotate = annotate.replace("tkms spruce", "tkms acme");
    let annotate = annotate.replace("-n tenants", &format!("-n {}", env.namespace));
    for line in annotate.lines() {
        let args = line.replace("\"$(date -u +%FT%TZ)\"", "now");
        let args: Vec<&str> = args.split_whitespace().skip(1).collect();
        env.control.kubectl(&args).await?.success()?;
    }
    let rotated = |object: &Value| object["status"]["kekVersion"] == "2";
    env.wait("acme", "rotated", SOON, rotated).await.map(drop)
}

#[tokio::test]
async fn verify_works_without_a_cluster() -> Result<()> {
    let page = fs::read_to_string(repository().join(PAGE))?;
    let all: Vec<String> = blocks(&page, "sh").collect();
    let last = all.last().context("no block")?;
    let verify = last.lines().find(|line| line.starts_with("tenant-kms "));
    let folder = tempfile::tempdir()?;
    let keks = folder.path().join("keks");
    let (args, keks) = (verify.context("no verify")?, keks.display().to_string());
    let run = async || {
        let args = args.split_whitespace().skip(1);
        let args = args.map(|arg| if arg == "keks" { keks.as_str() } else { arg });
        Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
            .args(args)
            .args(["--output", "json"])
            .current_dir(repository())
            .env_clear()
            .output()
            .await
    };
    let report: Value = serde_json::from_slice(&run().await?.stdout)?;
    ensure!(report["reason"] == "KeyNotFound", "{report:#}");
    fs::create_dir(&keks)?;
    fs::write(folder.path().join("keks/standard.1"), [7; 32])?;
    let ran = run().await?;
    let report: Value = serde_json::from_slice(&ran.stdout)?;
    ensure!(ran.status.success() && report["ok"] == true, "{report:#}");
    ensure!(report["kekVersion"] == "1" && report["keyId"] == "local://standard");
    Ok(())
}
