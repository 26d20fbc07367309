//! What `tenant-kms onboard` prints: a shell can read it, and the real API server takes the
//! manifest, for each identity.

use anyhow::{Context, Result, ensure};
use harness::Env;
use serde_json::Value;
use tokio::process::Command;

use crate::readme::parses;
use crate::support::{CLIENT, DIRECTORY};

const KEY: &str = "https://acme-kv.vault.azure.net/keys/tenant-wrapping-key";

async fn onboard(more: &[&str]) -> Result<String> {
    let ran = Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
        .args(["onboard", "azure", "--key", KEY, "--client-id", CLIENT])
        .args(more)
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{more:?}: {errors}");
    String::from_utf8(ran.stdout).context("UTF-8")
}

#[tokio::test]
async fn a_shell_reads_the_commands_and_the_api_server_takes_the_manifest() -> Result<()> {
    let env = Env::new("onboard").await?;
    let tenant = format!("{}/acme", env.namespace);
    let own = format!("{}/acme-kms", env.namespace);
    let issuer = "https://oidc.prod-aks.azure.com/0/1/";
    let federated = |account| {
        let trust = ["--service-account", account, "--issuer", issuer];
        [&["--tenant-id", DIRECTORY], &trust[..]].concat()
    };
    let mut rights = 0;
    for identity in [
        vec!["--identity", "workload"],
        vec!["--identity", "managed"],
        vec!["--identity", "secret", "--tenant-id", DIRECTORY],
        vec![
            "--identity",
            "secret",
            "--tenant-id",
            DIRECTORY,
            "--secret",
            "acme-azure",
        ],
        federated("tenant-kms-system/tenant-kms-operator"),
        federated(&own),
    ] {
        let args = [&identity[..], &["--tenant", &tenant]].concat();
        for output in ["all", "commands"] {
            let script = onboard(&[&args[..], &["--output", output]].concat()).await?;
            parses(&script).await?;
        }
        let script = onboard(&args).await?;
        if let Some((_, after)) = script.split_once("#   tenantCredentials:\n#     - ") {
            let entry = after.lines().next().unwrap_or_default();
            let entry: Value = serde_yaml_ng::from_str(entry)?;
            env.upgrade(&[&format!("tenantCredentials=[{entry}]")])
                .await
                .with_context(|| entry.to_string())?;
            rights += 1;
        }
        let manifest = onboard(&[&args[..], &["--output", "manifest"]].concat()).await?;
        let apply = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        let tried = env.control.kubectl_stdin(&apply, &manifest).await?;
        ensure!(tried.status, "{identity:?}: {}\n{manifest}", tried.stderr);
    }
    ensure!(rights == 2, "a Secret and a ServiceAccount need them");
    Ok(())
}
