//! A client secret from a Secret of the tenant's namespace: lent by a label, read by a Role for
//! that one Secret, and read anew whenever it is used.

use anyhow::Result;

use super::{Town, application, tenant};
use crate::support::SOON;

fn secret(name: &str, label: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  labels: {{ {label} }}\n\
         stringData: {{ client-secret: {value:?} }}\n"
    )
}

/// Its own: the canary looks for others' secrets in the etcd that all scenarios share.
const MAPLES_SECRET: &str = "s3cr3t~of-maple-lent";
const LENT: &str = "tenantkms.dev/tenant: acme";
const REF: &str = ", clientSecret: { secretRef: { name: acme-azure, key: client-secret } }";

#[tokio::test]
async fn a_secret_is_used_once_it_is_lent_and_may_be_read() -> Result<()> {
    let town = Town::new("idlent").await?;
    town.app.add_secret(MAPLES_SECRET);
    let _operator = town.env.operator().await?;
    let applied = town.env.apply(&tenant("acme", &application(REF))).await?;
    applied.success()?;

    // Nobody gave the right to read it, and the message gives the commands that do.
    let message = town
        .refused("acme", "SecretNotFound", "create role")
        .await?;
    town.run(&message).await?;
    town.refused("acme", "SecretNotFound", "there is no Secret")
        .await?;
    for (label, hint) in [
        ("a: b", "the label is missing"),
        ("tenantkms.dev/tenant: birch", "lent to another tenant"),
    ] {
        let lent = town
            .env
            .apply(&secret("acme-azure", label, MAPLES_SECRET))
            .await?;
        lent.success()?;
        let message = town.refused("acme", "SecretNotFound", hint).await?;
        assert!(!message.contains(MAPLES_SECRET));
    }
    assert_eq!(
        town.sent(),
        0,
        "something was sent before the Secret was lent"
    );

    let message = town
        .refused("acme", "SecretNotFound", "kubectl label")
        .await?;
    town.run(&message).await?;
    let active = town.retried("acme").await?;
    let identity = active["status"]["identity"].as_str().unwrap_or_default();
    let named = format!("Secret {}/acme-azure", town.env.namespace);
    assert!(identity.contains(&named), "{identity}");

    // Rotated at Entra and in the Secret, and nothing else: the next token is bought with it.
    town.env
        .apply(&secret("acme-azure", LENT, "s3cr3t~canary-of-the-rotated"))
        .await?
        .success()?;
    town.app.remove_secret(MAPLES_SECRET);
    town.app.add_secret("s3cr3t~canary-of-the-rotated");
    super::rotated::bought(&town.env, 4 * SOON).await?;
    let now = town.env.tenant("acme").await?;
    assert!(now["status"]["lastVerifyError"].is_null(), "{now}");
    town.active("acme").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_client_secret_is_told_without_its_key() -> Result<()> {
    let town = Town::new("idwrong").await?;
    let _operator = town.env.operator().await?;
    let reference = ", clientSecret: { secretRef: { name: acme-azure, key: other.key } }";
    let manifest = tenant("acme", &application(reference));
    let lent = secret("acme-azure", LENT, MAPLES_SECRET);
    town.env.apply(&lent).await?.success()?;
    town.env.apply(&manifest).await?.success()?;
    let message = town
        .refused("acme", "SecretNotFound", "create role")
        .await?;
    town.run(&message).await?;
    let message = town
        .refused("acme", "SecretNotFound", "has no such key")
        .await?;
    assert!(!message.contains("other.key"), "{message}");
    assert_eq!(town.sent(), 0);

    // Read and sent, and Entra does not know it: the message says where it came from.
    town.env
        .apply(&tenant("acme", &application(REF)))
        .await?
        .success()?;
    let wrong = town
        .refused("acme", "CredentialRejected", "acme-azure")
        .await?;
    assert!(wrong.contains("credential reset") && !wrong.contains(MAPLES_SECRET));
    Ok(())
}
