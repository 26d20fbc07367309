//! The operator's own token: for its own application, and for one that a tenant names, which
//! needs a grant without any `*`.

use anyhow::Result;
use serde_json::json;

use super::{KEY, Town, application, tenant};
use crate::support::{CLIENT, DIRECTORY};

#[tokio::test]
async fn workload_identity_of_the_pod() -> Result<()> {
    let town = Town::new("idworkload").await?;
    town.trust(&town.own_subject());
    let _operator = town.with_workload_identity("*", KEY).await?;
    town.env.apply(&tenant("acme", "")).await?.success()?;
    let active = town.active("acme").await?;
    let identity = active["status"]["identity"].as_str().unwrap_or_default();
    assert!(identity.starts_with("workload identity") && identity.contains(CLIENT));
    assert_eq!(town.env.cloud.count("*", "imds-token"), 0, "a fallback");
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_wrong_is_told_apart() -> Result<()> {
    let town = Town::new("idtoken").await?;
    town.trust(&town.own_subject());
    let _operator = town.with_workload_identity("acme", KEY).await?;
    let write = |text: &str| std::fs::write(town.token_file(), text);

    // The token for the API server must never leave.
    write(&town.own_token("https://kubernetes.default.svc").await?)?;
    town.env.apply(&tenant("acme", "")).await?.success()?;
    town.refused("acme", "IdentityUnavailable", "was not sent")
        .await?;
    std::fs::remove_file(town.token_file())?;
    town.refused("acme", "IdentityUnavailable", "is not there")
        .await?;
    assert_eq!(town.sent(), 0);

    let expired = town
        .resigned(|claims| {
            for (name, time) in [
                ("iat", 1_600_000_000),
                ("nbf", 1_600_000_000),
                ("exp", 1_600_000_600),
            ] {
                claims[name] = json!(time);
            }
        })
        .await?;
    write(&expired)?;
    town.refused("acme", "CredentialRejected", "not within its time")
        .await?;
    assert_eq!(town.code("acme").await?, "AADSTS700024");
    let foreign = town
        .resigned(|claims| claims["sub"] = json!("system:serviceaccount:other:other"))
        .await?;
    write(&foreign)?;
    town.refused("acme", "AccessDenied", "system:serviceaccount:other:other")
        .await?;
    assert_eq!(town.code("acme").await?, "AADSTS700213");
    let issuer = town
        .resigned(|claims| claims["iss"] = json!("https://issuer.example"))
        .await?;
    write(&issuer)?;
    town.refused("acme", "AccessDenied", "issuer is trusted by none")
        .await?;
    assert_eq!(town.code("acme").await?, "AADSTS700211");
    let forged = town.own_token(super::AUDIENCE).await?;
    let (signed, _) = forged.rsplit_once('.').unwrap_or_default();
    write(&format!("{signed}.{}", "A".repeat(342)))?;
    town.refused("acme", "CredentialRejected", "could not verify")
        .await?;
    assert_eq!(town.code("acme").await?, "AADSTS700027");

    // A kubelet writes the next one, and no restart is needed.
    write(&town.own_token(super::AUDIENCE).await?)?;
    town.retried("acme").await.map(drop)
}

#[tokio::test]
async fn another_directory_by_the_operators_token() -> Result<()> {
    let town = Town::new("idcross").await?;
    town.trust(&town.own_subject());
    let _operator = town.with_workload_identity("*", KEY).await?;
    let manifest = tenant("acme", &application(""));
    town.env.apply(&manifest).await?.success()?;
    let message = town
        .refused("acme", "NotAllowed", "without any '*'")
        .await?;
    assert!(message.contains(KEY), "{message}");
    assert_eq!(town.sent(), 0);
    town.allow("acme", KEY);
    let active = town.retried("acme").await?;
    let identity = active["status"]["identity"].as_str().unwrap_or_default();
    assert!(identity.contains(DIRECTORY) && identity.contains("by the operator's own token"));

    // The grant goes, and with it the tenant, although its client has a token.
    town.allow("other", KEY);
    let soon = 2 * crate::support::SOON;
    town.env
        .wait_condition("acme", "Sealed", "True", Some("NotAllowed"), soon)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_managed_identity_reaches_its_own_directory_only() -> Result<()> {
    let town = Town::new("idmanaged").await?;
    town.allow("acme", KEY);
    let _operator = town.env.operator().await?;
    town.env
        .apply(&tenant("acme", &application("")))
        .await?
        .success()?;
    town.refused("acme", "IdentityUnavailable", "only its own directory")
        .await?;
    assert_eq!(town.sent(), 0);
    Ok(())
}
