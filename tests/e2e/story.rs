//! The main story: proved, sealed when the customer says no, unsealed when they say yes.

use anyhow::Result;
use fakecloud::Scope;

use crate::support::{SOON, World};

#[tokio::test]
async fn a_customer_revokes_and_gives_back() -> Result<()> {
    let world = World::new("story").await?;
    let _operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;

    world.vault.revoke(world.app.principal());
    let sealed = world
        .env
        .wait_condition("acme", "Sealed", "True", Some("AccessDenied"), SOON)
        .await?;
    let message = sealed["status"]["conditions"][0]["message"]
        .as_str()
        .unwrap_or_default();
    assert!(message.contains("az role assignment create"), "{message}");
    assert!(sealed["status"]["sealedSince"].is_string());

    world.vault.grant(world.app.principal(), Scope::Vault);
    world
        .env
        .wait_condition("acme", "Active", "True", Some("Verified"), 2 * SOON)
        .await?;

    world.key.disable();
    world
        .env
        .wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
        .await?;
    world.key.enable();
    let active = world
        .env
        .wait_condition("acme", "Active", "True", Some("Verified"), 2 * SOON)
        .await?;
    assert!(active["status"]["sealedSince"].is_null());
    Ok(())
}
