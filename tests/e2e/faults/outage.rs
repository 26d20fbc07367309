//! Key services that hang, fail or throttle: Active until the last proof is as old as it may be,
//! sealed right then and not before.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use fakecloud::{Effect, Fault};
use futures::future::try_join_all;
use harness::Operator;

use super::film::{Film, condition, is};
use super::scenario;
use super::town::{Customer, QUICK, SOON, Town, last_proof};

const TTL: f64 = 60.0;
/// The promise is 60 to 65 s; a frame arrives after the write it shows, on a busy machine later.
pub const LATEST: f64 = 70.0;

#[tokio::test]
async fn an_outage_seals_when_the_proof_is_too_old_and_not_before() -> Result<()> {
    scenario(Duration::from_mins(4), async {
        let names = [
            "hanging",
            "failing",
            "throttling",
            "patient",
            "reset",
            "steady",
        ];
        let town = Town::new("outage", &names).await?;
        let operator = town.env.operator().await?;
        let effects = [
            (Effect::Hang, "Unreachable"),
            (Effect::status(503), "ProviderError"),
            (Effect::throttled(None), "Throttled"),
            (Effect::throttled(Some("120")), "Throttled"),
            (Effect::Reset, "Unreachable"),
        ];
        let mut films = Vec::new();
        for customer in &town.customers {
            films.push(town.active(customer, QUICK).await?);
        }
        for (customer, (effect, _)) in town.customers.iter().zip(&effects) {
            town.env
                .cloud
                .fault(Fault::on(&customer.host(), effect.clone()));
        }
        let stories = town.customers.iter().zip(&films).zip(&effects);
        try_join_all(stories.map(|((customer, film), (_, reason))| {
            sealed_in_time(&operator, customer, film, reason)
        }))
        .await?;
        films[names.len() - 1].always_active()?;

        town.env.cloud.clear_faults();
        let cleared = Instant::now();
        for (film, _) in films.iter().zip(&effects) {
            film.until("Active", cleared, 2 * SOON, |object| {
                is(object, "Active", "True")
            })
            .await?;
        }
        films[names.len() - 1].unmoved()
    })
    .await
}

async fn sealed_in_time(
    operator: &Operator,
    customer: &Customer,
    film: &Film,
    reason: &str,
) -> Result<()> {
    let began = Instant::now();
    let sealed = film
        .until("Sealed", began, 3 * SOON, |object| {
            is(object, "Sealed", "True")
        })
        .await?;
    let proof = last_proof(operator, &customer.name).await?;
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).map(|age| age.as_secs_f64());
    let age = seconds(sealed.wall)? - proof;
    ensure!(
        (TTL..LATEST).contains(&age),
        "{} was sealed {age:.3} s after its last proof",
        customer.name
    );
    let why = condition(&sealed.object, "Sealed").context("no condition")?;
    ensure!(why["reason"] == reason, "{}: {why:#}", customer.name);
    film.never("neither Active nor Sealed", |object| {
        is(object, "Active", "True") == is(object, "Sealed", "True")
    })?;
    film.never("not Active before it was Sealed", |object| {
        !is(object, "Active", "True") && !is(object, "Sealed", "True")
    })
}
