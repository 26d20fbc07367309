//! Another cluster that talks to the same key: the same master keys serve there.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::{ControlPlane, Env, Operator};
use serde_json::Value;

use super::{export, ids, in_force, keyring, refused};
use crate::lifecycle::{ACTIVE, RARELY, break_glass};
use crate::seen::{self, record, wait_row};
use crate::support::{SECRET, SOON, VARIABLE, World, manifest, policy};

/// An operator of another cluster in the world of the first one's clouds.
async fn operator(second: &Env, world: &World) -> Result<Operator> {
    second.set_secret(VARIABLE, SECRET);
    second.write_config(&policy(&second.namespace));
    let mut options = second.operator_options();
    for (name, value) in world.env.cloud.env() {
        options = options.env(&name, value);
    }
    second.spawn(options).await
}

#[tokio::test]
async fn what_one_cluster_exports_serves_in_another() -> Result<()> {
    let world = World::new("drill-one").await?;
    let first = &world.env;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let (kept, file) = (
        record(first, "acme").await?.body,
        export(first, "a.json").await?,
    );
    let text = std::fs::read_to_string(&file)?;
    ensure!(serde_json::from_str::<Value>(&text)?["keyring"] == kept["keyring"]);

    let control = Arc::new(ControlPlane::start().await?);
    let second = Env::with_control(control, "drill-two").await?;
    let namespace = second.namespace.as_str();
    let import = ["import", "-f", &file, "-n", namespace];
    // Kept from an administrator too, until the glass is broken.
    in_force(&second).await?;
    let commands = format!(
        "\n  kubectl annotate namespace '{0}' tenantkms.dev/break-glass=import\n  kubectl annotate \
         namespace '{0}' tenantkms.dev/break-glass-",
        second.records_namespace
    );
    refused(&second, &import, &commands).await?;
    break_glass(&second).await?;
    // No waiting here: the command itself waits for the policy to learn of it.
    keyring(&second, &import).await?.success()?;
    let imported = record(&second, "acme").await?.body;
    ensure!(imported["keyring"] == kept["keyring"] && imported["tenantUid"] == kept["tenantUid"]);
    ensure!(
        imported["sealEpoch"] == 1 && imported["applied"].is_null(),
        "{imported}"
    );
    ensure!(imported["namespaceUid"] != kept["namespaceUid"]);

    let _second_operator = operator(&second, &world).await?;
    second.apply(&manifest("acme", RARELY)).await?.success()?;
    wait_row(&second, "acme", ACTIVE, SOON).await?;
    ensure!(
        ids(&second).await? == ids(first).await?,
        "the same master keys"
    );
    let now = record(&second, "acme").await?.body;
    ensure!(now["keyring"] == kept["keyring"], "and nothing else: {now}");
    let unchanged = keyring(&second, &import).await?.success()?;
    ensure!(unchanged.contains("Nothing was changed"), "{unchanged}");
    let clone = ["import", "-f", &file, "-n", namespace, "other"];
    let named = format!("as those of {namespace}/acme");
    refused(&second, &clone, &named).await
}

#[tokio::test]
async fn a_key_that_does_not_open_them_makes_nobody_active() -> Result<()> {
    let world = World::new("drill-liar").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let file = export(env, "a.json").await?;
    operator.terminate().await?;
    // Another key of the same name, such as a customer makes who lost the first one.
    world.key.purge();
    world.vault.create_key("tenant-wrapping-key");

    let control = Arc::new(ControlPlane::start().await?);
    let second = Env::with_control(control, "drill-lied").await?;
    break_glass(&second).await?;
    let import = ["import", "-f", &file, "-n", &second.namespace];
    keyring(&second, &import).await?.success()?;
    let imported = record(&second, "acme").await?;
    let _operator = self::operator(&second, &world).await?;
    second.apply(&manifest("acme", RARELY)).await?.success()?;
    let mut active = false;
    second
        .wait("acme", "not opened", SOON, |object| {
            active |= object["status"]["phase"] == "Active";
            !object["status"]["lastVerifyError"].is_null()
        })
        .await?;
    seen::throughout(std::time::Duration::from_secs(4), async || {
        ensure!(second.tenant("acme").await?["status"]["phase"] == "Pending");
        ensure!(record(&second, "acme").await? == imported, "the keys stay");
        Ok(())
    })
    .await?;
    ensure!(!active, "Active without its master keys");
    Ok(())
}
