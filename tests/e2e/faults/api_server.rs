//! The API server and etcd killed and started again: checks go on without them, a no that comes
//! meanwhile is told afterwards, and nobody else's conditions move.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::{Component, ControlPlane, Env};

use super::film::{is, sealed_for};
use super::scenario;
use super::town::{Customer, QUICK, SOON, Town};

/// Longer than the back-off of writes and watches.
const RETURN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn api_server_and_etcd_are_killed_and_come_back() -> Result<()> {
    scenario(Duration::from_mins(5), async {
        let control = Arc::new(ControlPlane::start().await?);
        let env = Env::with_control(control, "api").await?;
        let town = Town::of(env, &["acme", "globex", "initech", "hooli"]);
        let operator = town.env.operator().await?;
        let mut films = Vec::new();
        for customer in &town.customers {
            films.push(town.active(customer, QUICK).await?);
        }
        let (steady, revoked) = town.customers.split_at(1);
        let outages: [&[Component]; 3] = [
            &[Component::ApiServer],
            &[Component::Etcd],
            &[Component::ApiServer, Component::Etcd],
        ];
        for ((parts, victim), film) in outages.iter().zip(revoked).zip(&films[1..]) {
            let started = Instant::now();
            outage(&town, parts, victim, &steady[0])
                .await
                .with_context(|| format!("without {parts:?}"))?;
            film.until("Sealed", started, RETURN, |object| {
                sealed_for(object, "AccessDenied")
            })
            .await
            .with_context(|| format!("after {parts:?} came back:\n{}", operator.log()))?;
            film.never("sealed before the no", |object| {
                is(object, "Sealed", "True") && !sealed_for(object, "AccessDenied")
            })?;
        }
        // Whatever the operator still had to say is said: a request is answered.
        town.request(&steady[0], "verify", "after-the-outages")
            .await?;
        let handled = "/status/handledRequests/verifyRequestedAt";
        films[0]
            .until("answered", Instant::now(), SOON, |object| {
                object
                    .pointer(handled)
                    .is_some_and(|value| value == "after-the-outages")
            })
            .await?;
        films[0].unmoved()?;
        films[0].always_active()
    })
    .await
}

/// While `parts` are down, `steady` goes on being proved and `victim`'s no is heard.
async fn outage(
    town: &Town,
    parts: &[Component],
    victim: &Customer,
    steady: &Customer,
) -> Result<()> {
    for part in parts {
        town.env.control.stop(*part).await?;
    }
    let down = Instant::now();
    victim.revoke();
    let denied = |call: &fakecloud::Call| victim.uses_key(call, down) && call.status == 403;
    let first = town.env.cloud.wait_for_call(denied, SOON).await?;
    let confirmed = |call: &fakecloud::Call| denied(call) && call.instant > first.instant;
    town.env.cloud.wait_for_call(confirmed, SOON).await?;
    let one = town.proved(steady, down, SOON).await?;
    // A whole interval later, so that it was begun long after the API server went.
    let later = one.instant + Duration::from_secs(4);
    town.proved(steady, later, SOON).await?;
    for part in parts.iter().rev() {
        town.env.control.start_component(*part).await?;
    }
    Ok(())
}
