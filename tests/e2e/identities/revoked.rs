//! The grant ends at the identity provider alone. The vault still takes the tokens it gave, so the
//! operator must not live on one for longer than proofTTL.

use std::time::{Duration, Instant};

use anyhow::Result;
use fakecloud::Scope;

use super::{KEY, Town, tenant};
use crate::support::SOON;

/// proofTTL and interval, a confirmation and the time a status takes to be written and seen.
const LIMIT: Duration = Duration::from_secs(60 + 5 + 5);

async fn sealed_by(name: &str, revoke: impl FnOnce(&Town)) -> Result<()> {
    let town = Town::new(name).await?;
    // The customer's application has another friend, which it keeps.
    town.trust("system:serviceaccount:other:friend");
    town.trust(&town.own_subject());
    let _operator = town.with_workload_identity("*", KEY).await?;
    town.env.apply(&tenant("acme", "")).await?.success()?;
    town.active("acme").await?;
    revoke(&town);
    let begun = Instant::now();
    town.env
        .wait_condition("acme", "Sealed", "True", Some("AccessDenied"), LIMIT + SOON)
        .await?;
    let took = begun.elapsed();
    assert!(took < LIMIT, "sealed after {took:?}");
    // Nothing was touched at the vault.
    town.vault.grant(town.app.principal(), Scope::Vault);
    town.app.enable();
    town.trust(&town.own_subject());
    town.env
        .wait_condition("acme", "Active", "True", Some("Verified"), 2 * SOON)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_disabled_application_is_heard() -> Result<()> {
    sealed_by("iddisabled", |town| town.app.disable()).await
}

#[tokio::test]
async fn a_removed_federated_credential_is_heard() -> Result<()> {
    sealed_by("idremoved", |town| town.app.unfederate(&town.own_subject())).await
}
