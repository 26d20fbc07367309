//! An outage during a fail-over: the new holder has no proof and cannot get one. It takes as long
//! to judge as anybody, counted from its own first attempt, and until then leaves the conditions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fakecloud::{Effect, Fault};

use super::film::{conditions, is, sealed_for};
use super::replica::Replica;
use super::scenario;
use super::town::{QUICK, SOON, Town};

const TTL: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_new_holder_without_proof_judges_after_its_own_ttl() -> Result<()> {
    scenario(Duration::from_mins(4), async {
        let town = Town::new("failover", &["acme"]).await?;
        let acme = &town.customers[0];
        let first = Replica::start(&town.env, "first").await?;
        first.until_holds(true, SOON).await?;
        let film = town.active(acme, QUICK).await?;
        let before = conditions(&film.last());
        // Its start is long past when it takes over: the TTL must not count from there.
        let second = Replica::start(&town.env, "second").await?;

        town.env.cloud.fault(Fault::on(&acme.host(), Effect::Hang));
        let killed = Instant::now();
        first.operator.kill().await?;
        let held = second.until_holds(true, SOON).await?;
        let sealed = film
            .until("Sealed", killed, TTL + 2 * SOON, |object| {
                is(object, "Sealed", "True")
            })
            .await?;
        ensure!(
            sealed_for(&sealed.object, "Unreachable"),
            "{:#}",
            sealed.object["status"]
        );
        let attempts = second.ways.cloud.connections();
        let attempt = *attempts.first().context("the new holder never tried")?;
        // It tries no sooner than it holds, and no later than its connection is seen.
        let (least, most) = (sealed.at - attempt, sealed.at - held.after);
        ensure!(
            most >= TTL && least < TTL + Duration::from_secs(10),
            "sealed {least:?} to {most:?} after the new holder's first attempt"
        );
        film.never("its conditions changed before the verdict", |object| {
            !is(object, "Sealed", "True") && conditions(object) != before
        })?;

        town.env.cloud.clear_faults();
        let cleared = Instant::now();
        film.until("Active", cleared, 2 * SOON, |object| {
            is(object, "Active", "True")
        })
        .await?;
        Ok(())
    })
    .await
}
