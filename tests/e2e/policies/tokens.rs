//! The tokens that the operator may ask for are of no use in this cluster.

use anyhow::{Result, ensure};
use harness::Env;

use crate::seen::eventually;
use crate::support::SOON;

#[tokio::test]
async fn the_operator_gets_tokens_for_the_federation_only() -> Result<()> {
    let env = Env::new("audiences").await?;
    env.kubectl(&["create", "serviceaccount", "acme-kms"])
        .await?
        .success()?;
    env.kubectl(&["create", "serviceaccount", "other"])
        .await?
        .success()?;
    let lent = format!(
        r#"tenantCredentials=[{{"namespace":"{}","serviceAccounts":["acme-kms"]}}]"#,
        env.namespace
    );
    env.upgrade(&[&lent]).await?;
    let token = async |account: &str, options: &[&str]| {
        let args = ["create", "token", account, "--namespace", &env.namespace];
        let args = [&args[..], options].concat();
        env.control
            .kubectl_as(&env.operator_kubeconfig, &args)
            .await
    };
    let words = "federation of Azure, AWS or GCP";
    eventually("the policy is in force", SOON, async || {
        Ok(token("acme-kms", &[]).await?.stderr.contains(words))
    })
    .await?;
    let pool = "iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/pool/providers/cluster";
    for good in [
        "api://AzureADTokenExchange".to_owned(),
        "sts.amazonaws.com".to_owned(),
        format!("//{pool}"),
        format!("https://{pool}"),
    ] {
        let option = format!("--audience={good}");
        let answer = token("acme-kms", &[&option]).await?;
        ensure!(answer.status, "{good}: {}", answer.stderr);
    }
    for bad in [
        "https://kubernetes.default.svc".to_owned(),
        "tenantkms.dev".to_owned(),
        "vault".to_owned(),
        "API://AzureADTokenExchange".to_owned(),
        format!("https://evil.example/{pool}"),
        format!("//{pool}/x"),
    ] {
        let option = format!("--audience={bad}");
        let answer = token("acme-kms", &[&option]).await?;
        ensure!(answer.stderr.contains(words), "{bad}: {}", answer.stderr);
    }
    let azure = "--audience=api://AzureADTokenExchange";
    let both = token("acme-kms", &[azure, "--audience=tenantkms.dev"]).await?;
    ensure!(both.stderr.contains(words), "{}", both.stderr);
    let long = token("acme-kms", &[azure, "--duration=24h"]).await?;
    ensure!(long.stderr.contains("at most one hour"), "{}", long.stderr);
    let other = token("other", &[azure]).await?;
    ensure!(
        other
            .stderr
            .contains("cannot create resource \"serviceaccounts/token\""),
        "{}",
        other.stderr
    );
    // Nobody else is meant.
    env.kubectl(&["create", "token", "acme-kms"])
        .await?
        .success()
        .map(drop)
}
