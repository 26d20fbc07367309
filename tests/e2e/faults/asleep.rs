//! The operator stands still (SIGSTOP) for longer than a proof is relied on: its own sleep says
//! nothing about anybody's key.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fakecloud::{Call, Effect, Fault};

use super::film::{is, sealed_for};
use super::scenario;
use super::town::{Customer, QUICK, SOON, Town};

const TTL: Duration = Duration::from_mins(1);
/// A frame arrives after the write it shows, on a busy machine later.
const SEEN: Duration = Duration::from_secs(5);
/// Less than the shortest interval: no check was due so soon, had it not stood still.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Whether this is part of an attempt on the customer's key at or after `since`.
fn attempts(call: &Call, customer: &Customer, since: Instant) -> bool {
    call.instant >= since && call.host == customer.host() && call.operation != "connect"
}

#[tokio::test]
async fn a_stopped_operator_seals_nobody_for_its_own_sleep() -> Result<()> {
    scenario(Duration::from_mins(4), async {
        let town = Town::new("asleep", &["acme", "globex", "initech"]).await?;
        let [acme, globex, initech] = &town.customers[..] else {
            unreachable!("three customers");
        };
        let operator = town.env.operator().await?;
        let healthy = town.active(acme, QUICK).await?;
        let hanging = town.active(globex, QUICK).await?;
        let failed = town.active(initech, QUICK).await?;

        town.env
            .cloud
            .fault(Fault::on(&globex.host(), Effect::Hang));
        let armed = Instant::now();
        // In the middle of an attempt on the one, and just after a failed attempt on the other:
        // both searches for a proof have begun when the process stands still.
        let open = |call: &Call| attempts(call, globex, armed);
        town.env.cloud.wait_for_call(open, SOON).await?;
        let once = Fault::on(&initech.host(), Effect::status(503)).times(1);
        town.env.cloud.fault(once);
        let failure = |call: &Call| attempts(call, initech, armed) && call.status == 503;
        town.env.cloud.wait_for_call(failure, SOON).await?;
        operator.pause()?;
        tokio::time::sleep(TTL + Duration::from_secs(5)).await; // the fault
        let woken = Instant::now();
        operator.resume()?;

        let attempt = |call: &Call| acme.uses_key(call, woken);
        let next = town.env.cloud.wait_for_call(attempt, SOON).await?;
        let after = next.instant - woken;
        ensure!(
            after < AT_ONCE,
            "the next attempt came {after:?} after waking"
        );
        let attempt = |call: &Call| attempts(call, globex, woken);
        let first = town.env.cloud.wait_for_call(attempt, SOON).await?.instant;
        ensure!(first - woken < AT_ONCE, "{:?} after waking", first - woken);

        let sealed = hanging
            .until("Sealed", woken, TTL + SOON, |object| {
                is(object, "Sealed", "True")
            })
            .await?;
        ensure!(
            sealed_for(&sealed.object, "Unreachable"),
            "{:#}",
            sealed.object["status"]
        );
        // It tried no sooner than it woke, and no later than its request is seen.
        let (least, most) = (sealed.at - first, sealed.at - woken);
        ensure!(
            most >= TTL && least < TTL + Duration::from_secs(5) + SEEN,
            "sealed {least:?} to {most:?} after the first attempt after waking"
        );
        for film in [healthy, failed] {
            film.unmoved()?;
            film.always_active()?;
        }
        Ok(())
    })
    .await
}
