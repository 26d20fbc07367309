//! A no at the identity provider alone: the vault would still say yes to the token at hand.

use std::time::Duration;

use anyhow::Result;

use crate::support::{SOON, World};

#[tokio::test]
async fn a_disabled_application_seals_though_the_key_was_not_touched() -> Result<()> {
    let world = World::new("disabled").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;
    world.app.disable();
    // The token is used for at most proofTTL, and the next check asks for a new one.
    let within = Duration::from_secs(60 + 5) + SOON;
    let sealed = env
        .wait_condition("acme", "Sealed", "True", Some("AccessDenied"), within)
        .await?;
    assert_eq!(sealed["status"]["lastVerifyError"]["code"], "AADSTS7000112");
    world.app.enable();
    env.wait_condition("acme", "Active", "True", Some("Verified"), 3 * SOON)
        .await?;
    Ok(())
}
