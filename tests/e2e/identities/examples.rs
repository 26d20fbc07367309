//! The examples of these identities, with what lies beside them: the policy, and what is lent.

use anyhow::Result;

use super::Town;
use crate::examples::{active_with, example};
use crate::support::SECRET;

#[tokio::test]
async fn a_secret_that_is_lent() -> Result<()> {
    let town = Town::new("exlent").await?;
    town.app.add_secret(SECRET);
    let env = &town.env;
    let literal = format!("--from-literal=client-secret={SECRET}");
    let create = ["create", "secret", "generic", "maple-azure", &literal];
    env.kubectl(&create).await?.success()?;
    let label = [
        "label",
        "secret",
        "maple-azure",
        "tenantkms.dev/tenant=maple",
    ];
    env.kubectl(&label).await?.success()?;
    let folder = "azure-secret-ref";
    let lend = example(env, &format!("{folder}/lend.yaml"))?;
    env.apply(&lend).await?.success()?;
    let files = [("tenant.yaml", "maple")];
    active_with(env, env.operator_options(), folder, &files).await
}

#[tokio::test]
async fn an_account_that_is_lent() -> Result<()> {
    let town = Town::new("exaccount").await?;
    town.trust(&town.subject("rowan-kms"));
    let (env, folder) = (&town.env, "azure-service-account");
    let lend = example(env, &format!("{folder}/lend.yaml"))?;
    env.apply(&lend).await?.success()?;
    let files = [("tenant.yaml", "rowan")];
    active_with(env, env.operator_options(), folder, &files).await
}

#[tokio::test]
async fn an_account_that_google_trusts() -> Result<()> {
    let town = Town::new("exgoogleacc").await?;
    let (env, folder) = (&town.env, "gcp-service-account");
    let gcp = env.cloud.gcp();
    gcp.project_numbered("hazel-prod", 123_456_789_012);
    let provider = "projects/123456789012/locations/global/workloadIdentityPools/tenant-kms/providers/platform";
    let provider = gcp.provider(provider, &town.issuer);
    let key = gcp.create_key(
        "projects/hazel-prod/locations/europe-west3/keyRings/platform/cryptoKeys/tenant-wrapping-key",
    );
    let principal = provider.principal(&town.subject("hazel-kms"));
    let role = "roles/cloudkms.cryptoKeyEncrypterDecrypter";
    gcp.grant(key.name(), &principal, role)?;
    let lend = example(env, &format!("{folder}/lend.yaml"))?;
    env.apply(&lend).await?.success()?;
    let files = [("tenant.yaml", "hazel")];
    active_with(env, env.operator_options(), folder, &files).await
}

#[tokio::test]
async fn the_operators_own_token() -> Result<()> {
    for (folder, tenant) in [
        ("azure-workload-identity", "elm"),
        ("azure-cross-directory", "oak"),
    ] {
        let town = Town::new("exown").await?;
        town.trust(&town.own_subject());
        let files = [("tenant.yaml", tenant)];
        active_with(&town.env, town.webhook().await?, folder, &files).await?;
    }
    Ok(())
}
