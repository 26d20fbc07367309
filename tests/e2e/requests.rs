//! Requests by annotation: carried out once each, at most one per 5 s, remembered over restarts,
//! and never repeated word for word when they are not plain words.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::faults::kills::end_lease;
use crate::seen::{self, calls, eventually, patch, record, throughout, wait_row, writes};
use crate::support::{SOON, World};

pub const VERIFY: &str = "tenantkms.dev/verify-requested-at";
const UNSEAL: &str = "tenantkms.dev/unseal-requested-at";
/// So long that no check is due within a test.
const RARELY: &str = "{ interval: 150s, proofTTL: 5m }";
const ACTIVE: &str = "Active: Ready=True Active=True Sealed=False ConfigAccepted=True";

pub async fn ask(world: &World, annotation: &str, value: &str) -> Result<()> {
    let change = json!({ "metadata": { "annotations": { annotation: value } } });
    patch(&world.env, "acme", false, "merge", &change.to_string()).await
}

/// Waits until the status says that this value was carried out.
async fn handled(world: &World, field: &str, value: &str) -> Result<Value> {
    let what = format!("{field} {value} is handled");
    let done = |object: &Value| object["status"]["handledRequests"][field] == value;
    let object = world.env.wait("acme", &what, SOON, done).await?;
    let stored = record(&world.env, "acme").await?;
    ensure!(
        stored.body["handled"][field] == value,
        "on record: {:?}",
        stored.body
    );
    Ok(object)
}

#[tokio::test]
async fn a_verification_is_made_once_for_each_new_value() -> Result<()> {
    let world = World::new("verify-request").await?;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let before = calls(&world.env);

    ask(&world, VERIFY, "2030-01-01T00:00:00Z").await?;
    handled(&world, "verifyRequestedAt", "2030-01-01T00:00:00Z").await?;
    // The master key is opened, and a probe shows that the key still wraps.
    eventually("one check and one probe", SOON, async || {
        let once = calls(&world.env);
        Ok(once.wraps == before.wraps + 1 && once.unwraps == before.unwraps + 2)
    })
    .await?;

    // Many people ask at once: they are answered together, by attempts at least 5 s apart.
    let first = std::time::Instant::now();
    for number in 0..8 {
        ask(&world, VERIFY, &format!("burst-{number}")).await?;
    }
    handled(&world, "verifyRequestedAt", "burst-7").await?;
    // The last check is told of before the probe beside it is over.
    eventually("a probe beside each check", SOON, async || {
        let now = calls(&world.env);
        Ok(now.unwraps - before.unwraps == 2 * (now.wraps - before.wraps))
    })
    .await?;
    let wraps: Vec<_> = world
        .env
        .cloud
        .calls()
        .into_iter()
        .filter(|call| call.is("*", "wrapkey"))
        .map(|call| call.instant)
        .collect();
    let asked = &wraps[before.wraps..];
    let most = 2 + usize::try_from(first.elapsed().as_secs() / 5)?;
    ensure!(
        asked.len() <= most,
        "{} attempts for nine values in {:?}",
        asked.len(),
        first.elapsed()
    );
    for pair in asked.windows(2) {
        let pause = pair[1].duration_since(pair[0]);
        // As they arrive: one on its way for longer comes nearer to the next.
        ensure!(
            pause >= Duration::from_secs(2),
            "only {pause:?} between two"
        );
    }

    // The same value again, and the annotation taken away, ask for nothing.
    let quiet = calls(&world.env);
    ask(&world, VERIFY, "burst-7").await?;
    patch(
        &world.env,
        "acme",
        false,
        "merge",
        r#"{"metadata":{"labels":{"touched":"yes"}}}"#,
    )
    .await?;
    patch(
        &world.env,
        "acme",
        false,
        "merge",
        &json!({ "metadata": { "annotations": { VERIFY: null } } }).to_string(),
    )
    .await?;
    throughout(Duration::from_secs(7), async || {
        ensure!(
            calls(&world.env) == quiet,
            "{:?} of {quiet:?}",
            calls(&world.env)
        );
        Ok(())
    })
    .await?;

    // A new process proves the key once, and does not carry the request out again.
    ask(&world, VERIFY, "burst-7").await?;
    operator.kill().await?;
    end_lease(&world.env).await?;
    let stored = record(&world.env, "acme").await?;
    let written = writes(&world.env)?;
    let _operator = world.operator().await?;
    eventually("the new process proved the key", SOON, async || {
        Ok(calls(&world.env).unwraps > quiet.unwraps)
    })
    .await?;
    throughout(Duration::from_secs(7), async || {
        let now = calls(&world.env);
        ensure!(
            now.unwraps == quiet.unwraps + 1 && now.tokens == quiet.tokens + 1,
            "{now:?}"
        );
        Ok(())
    })
    .await?;
    ensure!(record(&world.env, "acme").await? == stored);
    ensure!(writes(&world.env)? == written, "{:?}", writes(&world.env)?);
    Ok(())
}

#[tokio::test]
async fn an_unseal_is_tried_now_and_works_only_when_the_customer_agrees() -> Result<()> {
    let world = World::new("unseal-request").await?;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;

    // Four times in a row: the tenant flaps, but a requested unseal needs one success.
    for round in 0..4 {
        world.key.disable();
        ask(&world, VERIFY, &format!("look-{round}")).await?;
        world
            .env
            .wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
            .await?;
        handled(&world, "verifyRequestedAt", &format!("look-{round}")).await?;
        let epoch = record(&world.env, "acme").await?.body["sealEpoch"].clone();
        ensure!(epoch == round + 1, "epoch {epoch} after seal {}", round + 1);

        if round == 0 {
            ask(&world, UNSEAL, "too-early").await?;
            let object = handled(&world, "unsealRequestedAt", "too-early").await?;
            ensure!(
                seen::reason(&object, "Sealed") == "KeyDisabled",
                "{}",
                seen::row(&object)
            );
        }

        world.key.enable();
        let before = calls(&world.env);
        let asked = std::time::Instant::now();
        ask(&world, UNSEAL, &format!("please-{round}")).await?;
        wait_row(&world.env, "acme", ACTIVE, Duration::from_secs(15)).await?;
        handled(&world, "unsealRequestedAt", &format!("please-{round}")).await?;
        // The seal's own schedule may have come first once; a second success was not needed.
        // The probe that `look` asked for comes after it: one wrap, one unwrap.
        let what = format!("one success to unseal, {:?}", asked.elapsed());
        eventually(&what, SOON, async || {
            let now = calls(&world.env);
            let probes = now.wraps - before.wraps;
            Ok(probes <= 1 && now.unwraps - before.unwraps == 1 + probes)
        })
        .await?;
    }
    let epoch = record(&world.env, "acme").await?.body["sealEpoch"].clone();
    ensure!(epoch == 4, "an unseal leaves the epoch: {epoch}");
    Ok(())
}

#[tokio::test]
async fn strange_values_are_carried_out_once_and_never_repeated() -> Result<()> {
    let world = World::new("strange-request").await?;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let long = "x".repeat(100_000);
    let strange = [
        ("", false),
        ("2030-01-01T00:00:00+02:00", true),
        ("<script>alert('canary')</script>", false),
        ("line\nbreak\u{1b}[31m canary", false),
        ("ünïcödé-canary 🦀", false),
        (long.as_str(), false),
    ];
    for (value, plain) in strange {
        let before = calls(&world.env);
        let old = world.env.tenant("acme").await?["status"]["handledRequests"].clone();
        ask(&world, VERIFY, value).await?;
        let object = world
            .env
            .wait("acme", "another value is handled", SOON, |object| {
                object["status"]["handledRequests"] != old
            })
            .await?;
        let said = object["status"]["handledRequests"]["verifyRequestedAt"].clone();
        let said = said.as_str().unwrap_or_default();
        if plain {
            ensure!(said == value, "{said}");
        } else {
            ensure!(said.starts_with("sha256:") && said.len() == 39, "{said}");
        }
        let stored = record(&world.env, "acme").await?;
        ensure!(stored.body["handled"]["verifyRequestedAt"] == said);
        ensure!(
            !stored.body.to_string().contains("canary")
                && !object["status"].to_string().contains("canary")
        );
        eventually("one check and one probe", SOON, async || {
            let now = calls(&world.env);
            Ok(now.wraps == before.wraps + 1 && now.unwraps == before.unwraps + 2)
        })
        .await?;
        ensure!(seen::row(&object) == ACTIVE, "{}", seen::row(&object));
    }
    Ok(())
}
