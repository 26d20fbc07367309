//! A customer who takes only the right to wrap: what is stored still opens, so the tenant stays
//! Active and says what is missing; no new master key is made.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fakecloud::{Permission, Scope};
use serde_json::Value;

use super::{ACTIVE, RARELY, ROTATE, age, ask, handled, keys_are, verified};
use crate::argo::expect_health;
use crate::faults::film::{Film, condition};
use crate::seen::{self, calls, eventually, record, throughout, wait_row};
use crate::support::{SOON, World};

const CANNOT_WRAP: &str =
    "Active: Ready=False Active=True Sealed=False ConfigAccepted=True Stalled=True";

fn says_how(object: &Value) -> Result<()> {
    for kind in ["Ready", "Stalled"] {
        let condition = condition(object, kind).context("the condition")?;
        let message = condition["message"].as_str().unwrap_or_default();
        ensure!(condition["reason"] == "AccessDenied", "{condition}");
        ensure!(
            message.contains("wrapKey") && message.contains("az role assignment create"),
            "{message}"
        );
    }
    ensure!(seen::reason(object, "Active") == "Verified");
    expect_health(object, "Degraded")
}

#[tokio::test]
async fn without_the_right_to_wrap_a_tenant_is_active_and_not_ready() -> Result<()> {
    let world = World::new("keys-no-wrap").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let film = Film::start(env, "acme").await?;
    world.vault.revoke(world.app.principal());
    let unwrap = [Permission::Get, Permission::Unwrap];
    world
        .vault
        .grant_only(world.app.principal(), Scope::Vault, &unwrap);
    verified(env, "look").await?;
    says_how(&wait_row(env, "acme", CANNOT_WRAP, SOON).await?)?;

    // A rotation that is due is tried and not made.
    operator.terminate().await?;
    age(env, 2).await?;
    let before = record(env, "acme").await?.body;
    let counted = calls(env);
    let _operator = world.operator().await?;
    ask(env, ROTATE, "now").await?;
    eventually("it is tried", SOON, async || {
        Ok(calls(env).wraps > counted.wraps)
    })
    .await?;
    says_how(&wait_row(env, "acme", CANNOT_WRAP, SOON).await?)?;
    throughout(Duration::from_secs(6), async || {
        let body = record(env, "acme").await?.body;
        ensure!(body["keyring"] == before["keyring"]);
        ensure!(body["handled"]["rotateRequestedAt"].is_null());
        ensure!(calls(env).wraps <= counted.wraps + 2, "{:?}", calls(env));
        Ok(())
    })
    .await?;

    world.vault.grant(world.app.principal(), Scope::Vault);
    verified(env, "again").await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    keys_are(env, "1 retired, 2 active", 3 * SOON).await?;
    handled(env, "rotateRequestedAt", "now").await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    film.always_active()
}
