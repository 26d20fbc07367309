//! A tenant that flaps: after three unseals in ten minutes it takes two successes in a row, unless
//! somebody asks for the unseal.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::film::{Film, is, sealed_for};
use super::scenario;
use super::town::{Customer, QUICK, SOON, Town};

#[tokio::test]
async fn a_flapping_tenant_needs_two_successes_unless_asked() -> Result<()> {
    scenario(Duration::from_mins(4), async {
        let town = Town::new("flaps", &["acme"]).await?;
        let _operator = town.env.operator().await?;
        let acme = &town.customers[0];
        let film = town.active(acme, QUICK).await?;
        for flap in 1..=3 {
            seal(&town, acme, &film).await?;
            let proofs = unseal(&town, acme, &film, Some(flap)).await?;
            ensure!(
                proofs == 1,
                "unseal {flap} was asked for and took {proofs} successes"
            );
        }
        seal(&town, acme, &film).await?;
        let proofs = unseal(&town, acme, &film, None).await?;
        ensure!(
            proofs == 2,
            "a flapping tenant was unsealed by {proofs} successes"
        );
        seal(&town, acme, &film).await?;
        let proofs = unseal(&town, acme, &film, Some(5)).await?;
        ensure!(proofs == 1, "asked for, the unseal took {proofs} successes");
        Ok(())
    })
    .await
}

async fn seal(town: &Town, customer: &Customer, film: &Film) -> Result<()> {
    let revoked = Instant::now();
    customer.revoke();
    film.until("Sealed", revoked, SOON, |object| {
        sealed_for(object, "AccessDenied")
    })
    .await?;
    ensure!(
        town.uses(customer, revoked).len() >= 2,
        "sealed without a confirmation"
    );
    Ok(())
}

/// Gives access back, asks for the unseal if told so, and counts the successes it took.
async fn unseal(
    town: &Town,
    customer: &Customer,
    film: &Film,
    asked: Option<u32>,
) -> Result<usize> {
    let granted = Instant::now();
    customer.grant();
    if let Some(number) = asked {
        town.request(customer, "unseal", &format!("flap-{number}"))
            .await?;
    }
    let active = film
        .until("Active", granted, 2 * SOON, |object| {
            is(object, "Active", "True")
        })
        .await?;
    let calls = town.uses(customer, granted);
    // The probe may have no answer yet.
    ensure!(calls.iter().all(|call| [0, 200].contains(&call.status)));
    // What follows a wrap is the probe that comes after the unseal.
    let mut probing = false;
    let until = calls.iter().take_while(|call| call.instant <= active.at);
    let checks = until.filter(|call| match call.operation.as_str() {
        "wrapkey" => {
            probing = true;
            false
        }
        "unwrapkey" => !std::mem::take(&mut probing),
        _ => false,
    });
    Ok(checks.count())
}
