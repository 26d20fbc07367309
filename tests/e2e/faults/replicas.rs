//! Two replicas and one Lease: who holds it verifies and writes, alone; who loses it, however,
//! changes nothing any more.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::film::{is, sealed_for};
use super::replica::Replica;
use super::scenario;
use super::town::{QUICK, SOON, Town};

/// A Lease ends 15 s after its last renewal and is looked at every 2 s, each time for 3 s at most; and a busy
/// machine.
const TAKEOVER: Duration = Duration::from_secs(25);
/// Long before a Lease ends by itself.
const HANDED_OVER: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_other_replica_takes_over() -> Result<()> {
    scenario(Duration::from_mins(3), async {
        let town = Town::new("takeover", &["acme"]).await?;
        let acme = &town.customers[0];
        let first = Replica::start(&town.env, "first").await?;
        first.until_holds(true, SOON).await?;
        let film = town.active(acme, QUICK).await?;
        let second = Replica::start(&town.env, "second").await?;
        let started = Instant::now();
        let proof = town.proved(acme, started, SOON).await?;
        town.proved(acme, proof.instant + Duration::from_secs(3), SOON)
            .await?;
        ensure!(!second.holds().await?, "both hold the shard");
        ensure!(
            second.ways.cloud.connections().is_empty(),
            "a follower called the cloud"
        );
        ensure!(
            second.writes(&town.env)?.is_empty(),
            "{:?}",
            second.writes(&town.env)?
        );

        let version = film.last()["metadata"]["resourceVersion"].clone();
        let killed = Instant::now();
        first.operator.kill().await?;
        let took = second.until_holds(true, TAKEOVER + SOON).await?.by - killed;
        ensure!(took < TAKEOVER, "the other took over after {took:?}");
        ensure!(
            took > Duration::from_secs(8),
            "it did not wait for the Lease's end: {took:?}"
        );
        let proof = town.proved(acme, killed, SOON).await?;
        let first = *second
            .ways
            .cloud
            .connections()
            .first()
            .context("whose proof is it?")?;
        ensure!(proof.instant > first, "somebody else called the cloud");

        // Handed over, not left to run out.
        let third = Replica::start(&town.env, "third").await?;
        ensure!(!third.holds().await?);
        let asked = Instant::now();
        let code = second.operator.terminate().await?;
        ensure!(code == 0, "it ended with {code}");
        let took = third.until_holds(true, TAKEOVER).await?.by - asked;
        ensure!(took < HANDED_OVER, "handed over in {took:?}");
        town.proved(acme, proof.instant.max(asked + took), SOON)
            .await?;
        // One more interval, in which the new holder could still write what it should not.
        town.proved(acme, asked + took + Duration::from_secs(4), SOON)
            .await?;
        film.unmoved()?;
        film.always_active()?;
        let now = &film.last()["metadata"]["resourceVersion"];
        ensure!(*now == version, "a take-over wrote the object");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stale_holder_changes_nothing() -> Result<()> {
    scenario(Duration::from_mins(3), async {
        let town = Town::new("stale", &["acme", "globex"]).await?;
        let (acme, globex) = (&town.customers[0], &town.customers[1]);
        let old = Replica::start(&town.env, "old").await?;
        old.until_holds(true, SOON).await?;
        let film = town.active(acme, QUICK).await?;
        let steady = town.active(globex, QUICK).await?;
        let new = Replica::start(&town.env, "new").await?;

        let stopped = Instant::now();
        old.operator.pause()?;
        new.until_holds(true, TAKEOVER + SOON).await?;
        acme.revoke();
        let sealed = film
            .until("Sealed", stopped, SOON, |object| {
                sealed_for(object, "AccessDenied")
            })
            .await?;
        // All that time nobody but the stopped one knew better.
        let rest = Duration::from_secs(21).saturating_sub(stopped.elapsed());
        tokio::time::sleep(rest).await; // the fault: longer than any Lease
        let calls = old.ways.cloud.connections().len();
        let (woken, awake) = (Instant::now(), jiff::Timestamp::now());
        old.operator.resume()?;
        old.until_holds(false, TAKEOVER).await?;
        // It still remembers acme as Active and sees a status that says otherwise. Two checks of
        // the holder later it would have written, if it did.
        let proof = town.proved(globex, woken, SOON).await?;
        let proof = town
            .proved(globex, proof.instant + Duration::from_secs(3), SOON)
            .await?;
        town.proved(globex, proof.instant + Duration::from_secs(3), SOON)
            .await?;
        // A renewal that was on its way when the holder was stopped is none of a stale one's.
        let late = old.writes(&town.env)?.into_iter();
        let late: Vec<_> = late.filter(|write| write.at >= awake).collect();
        ensure!(late.is_empty(), "the stale holder wrote: {late:?}");
        ensure!(
            new.holds().await?,
            "the holder lost its Lease to a stale one"
        );
        let more = old.ways.cloud.connections().len() - calls;
        // A check of each that was due, and of the refused one its confirmation with a fresh token, by
        // the time that it hears of the Lease.
        ensure!(
            more <= 6,
            "the stale holder went on calling the cloud: {more} connections"
        );
        let now = film.last();
        ensure!(is(&now, "Sealed", "True"), "{:#}", now["status"]);
        film.until("Sealed", sealed.at, SOON, |object| {
            is(object, "Sealed", "True")
        })
        .await?;
        steady.unmoved()?;
        steady.always_active()
    })
    .await
}
