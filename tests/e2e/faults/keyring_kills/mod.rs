//! The operator killed (SIGKILL) at every call of everything that changes a keyring, and at its writes:
//! many tenants do the same at once, each stopped at another call, and one kill hits them all. The
//! old keyring stands or the new one does, and what was begun is done once in the end.

mod ledger;
pub mod rights;
mod stage;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::scenario;
use stage::{Cut, Stage, Tenant};

/// How many tenants: as many as the longest operation has calls, and one that nothing stops.
const TENANTS: usize = 17;
/// Those that are created while their calls are stopped.
const FIRST: usize = 8;

#[tokio::test]
async fn a_keyring_outlives_a_kill_at_every_step_of_every_change() -> Result<()> {
    scenario(Duration::from_mins(4), async {
        let mut stage = Stage::new("keyring", TENANTS).await?;
        creation(&mut stage).await.context("creation")?;
        // 1 → 2 versions, killed at the writes; 2 → 3, killed at the calls.
        stage.new_kek_versions();
        stage
            .cut_writes(0..TENANTS, 2, Stage::look_for_a_new_version)
            .await
            .context("rotation, at its writes")?;
        stage.new_kek_versions();
        let names = stage.cut_calls(0..TENANTS, 3, Stage::look_for_a_new_version, at_old_vault);
        say("rotation", &names.await.context("rotation, at its calls")?);
        migration(&mut stage).await.context("migration")?;
        erasing(&mut stage).await.context("erasing")
    })
    .await
}

fn at_old_vault(after: usize, tenant: &Tenant) -> Cut {
    Cut::at(&tenant.hosts[1], after)
}

fn say(what: &str, names: &[String]) {
    harness::say(&format!("{what} was cut at: {}", names.join(" ")));
}

async fn creation(stage: &mut Stage) -> Result<()> {
    let apply = async |stage: &Stage| stage.apply(0..FIRST, |_, manifest| manifest).await;
    let names = stage.cut_calls(0..FIRST, 1, apply, |at, tenant| match at {
        0 => Cut::token(tenant),
        _ => at_old_vault(at - 1, tenant),
    });
    say("creation", &names.await.context("at its calls")?);
    let apply = async |stage: &Stage| stage.apply(FIRST..TENANTS, |_, manifest| manifest).await;
    stage
        .cut_writes(FIRST..TENANTS, 1, apply)
        .await
        .context("at its writes")
}

async fn migration(stage: &mut Stage) -> Result<()> {
    let there = async |stage: &Stage| {
        stage
            .apply(0..TENANTS, |tenant, text| {
                text.replace(&tenant.old.url(), &tenant.new.url())
            })
            .await
    };
    // The first six calls are stopped at the old vault, the rest at the new one.
    let names = stage.cut_calls(0..TENANTS, 4, there, |at, tenant| match at.checked_sub(6) {
        None => at_old_vault(at, tenant),
        Some(after) => Cut::at(&tenant.hosts[0], after),
    });
    say("migration", &names.await.context("at its calls")?);
    let back = async |stage: &Stage| stage.apply(0..TENANTS, |_, text| text).await;
    stage
        .cut_before_writes(0..TENANTS, 5, back)
        .await
        .context("before its writes")?;
    stage
        .cut_before_status(0..TENANTS, 5, back)
        .await
        .context("after its writes")
}

async fn erasing(stage: &mut Stage) -> Result<()> {
    for at in 0..TENANTS {
        let id = stage.id(at, 0);
        stage.ledger.may_erase(&id);
    }
    let erase = async |stage: &Stage| {
        let ids: Vec<String> = (0..TENANTS).map(|at| stage.id(at, 0)).collect();
        stage
            .apply(0..TENANTS, |tenant, text| {
                format!(
                    "{text}  masterKey: {{ erasedIds: ['{}'] }}\n",
                    ids[tenant.number]
                )
            })
            .await
    };
    stage.long_retired().await?; // revision 6
    stage.cut_writes(0..TENANTS, 7, erase).await?;
    for at in 0..TENANTS {
        let keyring = stage.keyring(at);
        let states: Vec<&Value> = keyring["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| &one["state"])
            .collect();
        ensure!(states == ["erased", "retired", "active"], "{states:?}");
    }
    Ok(())
}
