//! The same for AWS.

use anyhow::{Context, Result, ensure};
use harness::Env;
use serde_json::Value;
use tokio::process::Command;

use crate::readme::parses;

const KEY: &str = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-central-1:444455556666:alias/acme";
const OPERATOR: &str = "arn:aws:iam::111122223333:role/operator";
const ROLE: &str = "arn:aws:iam::444455556666:role/byok/acme-kms";
const EXTERNAL_ID: &str = "tkms-0123456789abcdef0123456789abcdef";

async fn onboard(args: &[&str], output: &str) -> Result<String> {
    let ran = Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
        .args(["onboard", "aws", "--output", output])
        .args(args)
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{args:?}: {errors}");
    String::from_utf8(ran.stdout).context("UTF-8")
}

#[tokio::test]
async fn a_shell_reads_awss_commands_and_the_api_server_takes_the_manifest() -> Result<()> {
    let env = Env::new("onboardaws").await?;
    let tenant = format!("{}/acme", env.namespace);
    let account = format!("{}/acme-kms", env.namespace);
    let mut rights = 0;
    for identity in [
        vec!["--key", KEY, "--operator", OPERATOR],
        vec!["--key", ALIAS, "--operator", OPERATOR],
        vec![
            "--key",
            KEY,
            "--operator",
            OPERATOR,
            "--role",
            ROLE,
            "--external-id",
            EXTERNAL_ID,
        ],
        vec![
            "--key",
            KEY,
            "--role",
            ROLE,
            "--service-account",
            &account,
            "--issuer",
            "https://oidc.eks.eu-central-1.amazonaws.com/id/0123",
        ],
    ] {
        let args = [&identity[..], &["--tenant", &tenant]].concat();
        let script = onboard(&args, "all").await?;
        parses(&script).await?;
        parses(&onboard(&args, "commands").await?).await?;
        if let Some((_, after)) = script.split_once("#   tenantCredentials:\n#     - ") {
            let entry = after.lines().next().unwrap_or_default();
            let entry: Value = serde_yaml_ng::from_str(entry)?;
            env.upgrade(&[&format!("tenantCredentials=[{entry}]")])
                .await
                .with_context(|| entry.to_string())?;
            rights += 1;
        }
        let manifest = onboard(&args, "manifest").await?;
        let apply = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        let tried = env.control.kubectl_stdin(&apply, &manifest).await?;
        ensure!(tried.status, "{identity:?}: {}\n{manifest}", tried.stderr);
        // Every policy in a command is whole.
        for document in script.split("-document '").skip(1) {
            let json = document.split('\'').next().unwrap_or_default();
            let policy: Value = serde_json::from_str(json).context("a policy")?;
            ensure!(policy["Statement"][0]["Effect"] == "Allow", "{policy}");
        }
    }
    ensure!(rights == 1, "a ServiceAccount needs them");
    Ok(())
}
