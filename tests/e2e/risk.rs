//! `KeyAtRisk` warns of what the vault says about the key, and is nothing but a warning.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use fakecloud::{Effect, Fault, Permission, Scope};
use serde_json::Value;

use crate::requests::{VERIFY, ask};
use crate::seen::{eventually, reason};
use crate::support::{CLIENT, DIRECTORY, SOON, VARIABLE, World, manifest};

const RARELY: &str = "{ interval: 150s, proofTTL: 5m }";

async fn at_risk(world: &World, status: &str, reason: &str) -> Result<Value> {
    let env = &world.env;
    env.wait_condition("acme", "KeyAtRisk", status, Some(reason), SOON)
        .await?;
    env.tenant("acme").await
}

fn message(object: &Value) -> &str {
    let all = object["status"]["conditions"].as_array();
    let found = all.and_then(|all| all.iter().find(|one| one["type"] == "KeyAtRisk"));
    found.and_then(|one| one["message"].as_str()).unwrap_or("")
}

fn in_days(days: u64) -> Result<i64> {
    let at = SystemTime::now() + Duration::from_hours(24 * days);
    Ok(i64::try_from(at.duration_since(UNIX_EPOCH)?.as_secs())?)
}

fn readings(world: &World) -> usize {
    world.env.cloud.count("*", "getkey")
}

#[tokio::test]
async fn what_the_vault_says_is_told_with_the_command() -> Result<()> {
    let world = World::new("risk").await?;
    let operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;
    let object = at_risk(&world, "True", "PurgeProtectionOff").await?;
    let command = "az keyvault update --name 'acme-kv' --enable-purge-protection true";
    ensure!(message(&object).contains(command), "{object}");
    ensure!(reason(&object, "Ready") == "Verified", "only a warning");

    // Read with the new spec, and by no check after it.
    ensure!(readings(&world) == 1, "{}", readings(&world));
    let checks = world.env.cloud.count("*", "unwrapkey");
    eventually("two checks", SOON, async || {
        Ok(world.env.cloud.count("*", "unwrapkey") >= checks + 2)
    })
    .await?;
    ensure!(readings(&world) == 1, "{}", readings(&world));

    // Whoever wants to know now asks; another process keeps what was said.
    world.vault.purge_protection(true);
    world.key.set_expires(Some(in_days(31)?));
    ask(&world, VERIFY, "1").await?;
    at_risk(&world, "False", "Verified").await?;
    operator.terminate().await?;
    world.key.set_expires(Some(in_days(29)?));
    let operator = world.operator().await?;
    operator.wait_log("holding the shard", SOON).await?;
    at_risk(&world, "False", "Verified").await?;
    ask(&world, VERIFY, "2").await?;
    let object = at_risk(&world, "True", "KeyExpiring").await?;
    let command = "az keyvault key rotate --vault-name 'acme-kv' --name 'tenant-wrapping-key'";
    ensure!(message(&object).contains(command), "{object}");
    Ok(())
}

#[tokio::test]
async fn attributes_that_may_not_or_cannot_be_read_change_nothing_else() -> Result<()> {
    let world = World::new("risk-unknown").await?;
    world.vault.revoke(world.app.principal());
    let (who, may) = (
        world.app.principal(),
        [Permission::Wrap, Permission::Unwrap],
    );
    world.vault.grant_only(who, Scope::Vault, &may);
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let object = at_risk(&world, "Unknown", "AccessDenied").await?;
    ensure!(
        message(&object).contains("az role assignment create"),
        "{object}"
    );
    ensure!(reason(&object, "Ready") == "Verified" && reason(&object, "Sealed") == "Verified");
    ensure!(object["status"]["lastVerifyError"].is_null(), "{object}");
    operator.terminate().await?;

    // A vault that never answers this request keeps no new tenant waiting, nor seals it.
    let world = World::new("risk-silent").await?;
    let hang = Fault::on(&world.vault.host(), Effect::Hang).operation("getkey");
    world.env.cloud.fault(hang);
    let _operator = world.operator().await?;
    // Sooner than the attempt itself is given up.
    let begun = std::time::Instant::now();
    world.active(RARELY).await?;
    ensure!(
        begun.elapsed() < Duration::from_secs(14),
        "{:?}",
        begun.elapsed()
    );
    let object = at_risk(&world, "Unknown", "Verifying").await?;
    ensure!(object["status"]["lastVerifyError"].is_null(), "{object}");
    Ok(())
}

#[tokio::test]
async fn a_client_secret_near_its_end_is_told_whatever_may_be_read() -> Result<()> {
    let world = World::new("risk-secret").await?;
    world.vault.purge_protection(true);
    let _operator = world.operator().await?;
    let with = |day: &str| {
        let plain = format!("{{ envVar: {VARIABLE} }}");
        let dated = format!("{{ envVar: {VARIABLE}, expiresOn: '{day}' }}");
        manifest("acme", RARELY).replace(&plain, &dated)
    };
    world.env.apply(&with("2001-01-31")).await?.success()?;
    let object = at_risk(&world, "True", "CredentialExpiring").await?;
    ensure!(message(&object).contains("2001-01-31"), "{object}");
    ensure!(message(&object).contains(CLIENT) && !message(&object).contains(DIRECTORY));
    world.env.apply(&with("2999-01-31")).await?.success()?;
    at_risk(&world, "False", "Verified").await?;
    Ok(())
}
