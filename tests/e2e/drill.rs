//! The restore drill of docs/backup.md, run: what is exported in one cluster serves in another, or again
//! where it was lost; and a namespace that was created again gets its keys back by a person's word only.

mod restore;
mod second;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::{Env, Output};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::seen::{eventually, record};
use crate::support::SOON;

/// Runs `tenant-kms keyring ARGS` as the owner of this kubeconfig.
pub async fn keyring_as(env: &Env, kubeconfig: &Path, args: &[&str]) -> Result<Output> {
    let ran = Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
        .arg("keyring")
        .args(args)
        .args(["--records-namespace", &env.records_namespace])
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        // The API server is never asked through the clouds' proxy.
        .envs(env.cloud.env())
        .output()
        .await?;
    Ok(Output {
        status: ran.status.success(),
        stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
    })
}

/// As an administrator.
pub async fn keyring(env: &Env, args: &[&str]) -> Result<Output> {
    keyring_as(env, env.control.kubeconfig(), args).await
}

/// Exports `acme` to a file of this name.
async fn export(env: &Env, name: &str) -> Result<String> {
    let file = env.dir.path().join(name).display().to_string();
    let args = ["export", "acme", "-n", &env.namespace, "-o", &file];
    keyring(env, &args).await?.success()?;
    Ok(file)
}

async fn refused(env: &Env, args: &[&str], words: &str) -> Result<()> {
    let answer = keyring(env, args).await?;
    let said = format!("{}{}", answer.stdout, answer.stderr);
    ensure!(
        !answer.status && said.contains(words),
        "{args:?} without {words:?}: {said}"
    );
    Ok(())
}

/// Waits until the chart's policy keeps records from administrators.
async fn in_force(env: &Env) -> Result<()> {
    let plant = ["create", "secret", "generic", "tkms-planted"];
    let dry = ["--dry-run=server", "-n", &env.records_namespace];
    eventually("records are kept", SOON, async || {
        let planted = env
            .control
            .kubectl(&[plant.as_slice(), &dry].concat())
            .await?;
        Ok(planted.stderr.contains("break glass"))
    })
    .await
}

/// The ids of the master keys on record, oldest first.
async fn ids(env: &Env) -> Result<Vec<Value>> {
    let body = record(env, "acme").await?.body;
    let versions = body["keyring"]["versions"].as_array().cloned();
    let versions = versions.context("no keyring")?;
    Ok(versions.iter().map(|one| one["id"].clone()).collect())
}

/// The annotation that asks for a look.
fn ask(value: &str) -> String {
    let name = "tenantkms.dev/verify-requested-at";
    json!({ "metadata": { "annotations": { name: value } } }).to_string()
}
