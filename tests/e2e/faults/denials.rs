//! A no is confirmed with a fresh token before it seals; a single no between successes does not;
//! a no that cannot be confirmed does.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fakecloud::{Call, Effect, Fault};
use serde_json::json;

use super::film::{is, sealed_for};
use super::scenario;
use super::town::{Customer, QUICK, SOON, Town};

/// Less than from any check to the next.
const CHECK: Duration = Duration::from_secs(4);

async fn first_denial(town: &Town, customer: &Customer, since: Instant) -> Result<Call> {
    let denied = |call: &Call| customer.uses_key(call, since) && call.status == 403;
    town.env.cloud.wait_for_call(denied, SOON).await
}

/// The next check is denied, as by a right that is missing; what follows is not touched.
fn deny_once(town: &Town, customer: &Customer) {
    let detail = json!({ "code": "ForbiddenByRbac" });
    let error = json!({ "code": "Forbidden", "message": "no role", "innererror": detail });
    let denial = Effect::Status {
        status: 403,
        body: json!({ "error": error }).to_string(),
        retry_after: None,
        headers: Vec::new(),
    };
    let fault = Fault::on(&customer.host(), denial).operation("unwrapkey");
    town.env.cloud.fault(fault.times(1));
}

#[tokio::test]
async fn a_denial_is_confirmed_with_a_fresh_token() -> Result<()> {
    scenario(
        Duration::from_mins(3),
        Box::pin(async {
            let town = Town::new("denials", &["confirmed", "passing", "unanswered"]).await?;
            let _operator = town.env.operator().await?;
            let [confirmed, passing, unanswered] = &town.customers[..] else {
                unreachable!("three customers");
            };
            tokio::try_join!(
                is_confirmed(&town, confirmed),
                is_cleared_up(&town, passing),
                is_not_answered(&town, unanswered),
            )?;
            Ok(())
        }),
    )
    .await
}

async fn is_confirmed(town: &Town, customer: &Customer) -> Result<()> {
    let film = town.active(customer, QUICK).await?;
    let since = Instant::now();
    town.proved(customer, since, SOON).await?;
    ensure!(
        town.tokens(customer, since) == 0,
        "a token serves longer than one check"
    );
    let revoked = Instant::now();
    customer.revoke();
    let first = first_denial(town, customer, revoked).await?;
    film.until("Sealed", revoked, SOON, |object| {
        sealed_for(object, "AccessDenied")
    })
    .await?;
    let denials = town.uses(customer, first.instant);
    ensure!(
        denials.len() == 2,
        "{} uses of the key until the seal",
        denials.len()
    );
    ensure!(denials.iter().all(|call| call.status == 403));
    // Not at once, and before the next check is due.
    let between = denials[1].instant - first.instant;
    ensure!(
        (Duration::from_millis(500)..CHECK).contains(&between),
        "the confirmation came {between:?} after the denial"
    );
    ensure!(
        town.tokens(customer, first.instant) == 1,
        "the confirmation had a fresh token"
    );
    Ok(())
}

async fn is_cleared_up(town: &Town, customer: &Customer) -> Result<()> {
    let film = town.active(customer, QUICK).await?;
    let armed = Instant::now();
    deny_once(town, customer);
    let denial = first_denial(town, customer, armed).await?;
    let proof = town.proved(customer, denial.instant, SOON).await?;
    let after = proof.instant - denial.instant;
    ensure!(after < CHECK, "tried again only after {after:?}");
    ensure!(
        town.tokens(customer, denial.instant) == 1,
        "with a fresh token"
    );
    // And once more: the usual check, so that nothing of the no is left.
    town.proved(customer, proof.instant + Duration::from_secs(3), SOON)
        .await?;
    let denied = town
        .uses(customer, armed)
        .iter()
        .filter(|call| call.status == 403)
        .count();
    ensure!(denied == 1, "{denied} denials");
    film.unmoved()?;
    film.always_active()
}

async fn is_not_answered(town: &Town, customer: &Customer) -> Result<()> {
    let film = town.active(customer, QUICK).await?;
    let armed = Instant::now();
    // The one armed last is hit first.
    let hang = town
        .env
        .cloud
        .fault(Fault::on(&customer.host(), Effect::Hang));
    deny_once(town, customer);
    let denial = first_denial(town, customer, armed).await?;
    let sealed = film
        .until("Sealed", armed, SOON, |object| is(object, "Sealed", "True"))
        .await?;
    let after = sealed.at - denial.instant;
    ensure!(
        after >= Duration::from_secs(5),
        "sealed {after:?} after a denial that nothing confirmed"
    );
    ensure!(
        sealed_for(&sealed.object, "AccessDenied"),
        "{:#}",
        sealed.object["status"]
    );
    town.env.cloud.clear_fault(hang);
    Ok(())
}
