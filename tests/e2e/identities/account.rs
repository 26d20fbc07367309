//! A `ServiceAccount` of the tenant's namespace: its token is minted for each exchange, if it is
//! lent to this tenant and a Role allows it.

use anyhow::Result;

use super::{AUDIENCE, Town, application, tenant};
use crate::support::{CLIENT, DIRECTORY};

const BY_ACCOUNT: &str = ", serviceAccountName: acme-kms";

pub async fn account(town: &Town, name: &str, lent_to: &str) -> Result<()> {
    let label = format!("tenantkms.dev/tenant={lent_to}");
    town.env
        .kubectl(&["create", "serviceaccount", name])
        .await?
        .success()?;
    town.env
        .kubectl(&["label", "serviceaccount", name, &label])
        .await?
        .success()
        .map(drop)
}

#[tokio::test]
async fn a_token_of_the_tenants_account_is_exchanged() -> Result<()> {
    let town = Town::new("idaccount").await?;
    let _operator = town.env.operator().await?;
    town.env
        .apply(&tenant("acme", &application(BY_ACCOUNT)))
        .await?
        .success()?;
    let rights = town
        .refused("acme", "IdentityUnavailable", "serviceaccounts/token")
        .await?;
    town.run(&rights).await?;
    let missing = town
        .refused("acme", "IdentityUnavailable", "there is no ServiceAccount")
        .await?;
    assert!(missing.contains("create serviceaccount"), "{missing}");
    account(&town, "acme-kms", "birch").await?;
    let message = town
        .refused("acme", "IdentityUnavailable", "lent to another tenant")
        .await?;
    assert_eq!(town.sent(), 0, "another tenant's ServiceAccount was used");
    town.run(&message).await?;

    // Minted and sent, and the application trusts nobody yet.
    let message = town
        .refused("acme", "AccessDenied", "there is none at all")
        .await?;
    assert_eq!(town.code("acme").await?, "AADSTS70025");
    assert!(message.contains("federated-credential create"), "{message}");
    for part in [
        &town.subject("acme-kms"),
        &town.issuer,
        AUDIENCE,
        CLIENT,
        DIRECTORY,
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // Another subject, then another audience, than the token has.
    town.trust(&town.subject("other"));
    let message = town
        .refused("acme", "AccessDenied", "its subject is named by none")
        .await?;
    assert!(message.contains("federated-credential create"), "{message}");
    assert_eq!(town.code("acme").await?, "AADSTS700213");
    town.app
        .federate(&town.issuer, &town.subject("acme-kms"), "api://other");
    town.refused("acme", "AccessDenied", "audience is named by none")
        .await?;
    assert_eq!(town.code("acme").await?, "AADSTS700212");

    town.trust(&town.subject("acme-kms"));
    let active = town.retried("acme").await?;
    let identity = active["status"]["identity"].as_str().unwrap_or_default();
    assert!(
        identity.contains("by a token of ServiceAccount"),
        "{identity}"
    );
    Ok(())
}

#[tokio::test]
async fn an_application_that_nobody_consented_to() -> Result<()> {
    let town = Town::new("idconsent").await?;
    let _operator = town.env.operator().await?;
    town.trust(&town.subject("acme-kms"));
    account(&town, "acme-kms", "acme").await?;
    town.app.delete();
    town.env
        .apply(&tenant("acme", &application(BY_ACCOUNT)))
        .await?
        .success()?;
    let rights = town
        .refused("acme", "IdentityUnavailable", "serviceaccounts/token")
        .await?;
    town.run(&rights).await?;
    let message = town.refused("acme", "AccessDenied", "adminconsent").await?;
    assert!(message.contains("az ad sp create --id"), "{message}");
    assert_eq!(town.code("acme").await?, "AADSTS700016");
    town.app.restore();
    town.retried("acme").await.map(drop)
}
