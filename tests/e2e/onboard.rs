//! What `tenant-kms onboard` prints: a shell can read it, and the real API server takes the
//! manifest, for each identity.

mod aws;

use anyhow::{Context, Result, ensure};
use harness::Env;
use serde_json::Value;
use tokio::process::Command;

use crate::readme::parses;
use crate::support::{CLIENT, DIRECTORY};

const KEY: &str = "https://acme-kv.vault.azure.net/keys/tenant-wrapping-key";

const GOOGLE: &str = "projects/acme-prod/locations/global/keyRings/platform/cryptoKeys/wrap";

async fn onboard(args: &[&str]) -> Result<String> {
    let ran = Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
        .arg("onboard")
        .args(args)
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{args:?}: {errors}");
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
    let azure = |more: Vec<&'static str>| {
        let first = vec!["azure", "--key", KEY, "--client-id", CLIENT];
        [first, more].concat()
    };
    let google = |more: &[&'static str]| [&["gcp", "--key", GOOGLE][..], more].concat();
    let operator = "tenant-kms@platform-1.iam.gserviceaccount.com";
    let customer = ["--impersonate", "kms@acme-prod.iam.gserviceaccount.com"];
    let provider = "projects/1/locations/global/workloadIdentityPools/tenants/providers/platform";
    let pool = [
        "--provider",
        provider,
        "--service-account",
        &own,
        "--issuer",
        issuer,
    ];
    let mut rights = 0;
    for identity in [
        azure(vec!["--identity", "workload"]),
        azure(vec!["--identity", "managed"]),
        azure(vec!["--identity", "secret", "--tenant-id", DIRECTORY]),
        azure(vec![
            "--identity",
            "secret",
            "--tenant-id",
            DIRECTORY,
            "--secret",
            "acme-azure",
        ]),
        [
            azure(vec![]),
            federated("tenant-kms-system/tenant-kms-operator"),
        ]
        .concat(),
        [azure(vec![]), federated(&own)].concat(),
        google(&["--operator", operator]),
        [google(&["--operator", operator]), customer.to_vec()].concat(),
        [google(&[]), pool.to_vec()].concat(),
        [
            google(&["--billed-project", "acme-billing"]),
            pool.to_vec(),
            customer.to_vec(),
        ]
        .concat(),
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
    ensure!(rights == 4, "a Secret and ServiceAccounts need them");
    Ok(())
}
