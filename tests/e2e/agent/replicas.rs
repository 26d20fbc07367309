//! Replicas that are not the holder: they prove on demand, obey what they see, and stop when they can
//! see nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fakecloud::{Effect, Fault};
use futures::future::try_join_all;
use harness::{Agent, Answer, Workload};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{QUICK, SOON, Scene, erase_first, rotate};
use crate::faults::replica::Replica;
use crate::seen::{eventually, patch, suspend};
use crate::support::World;

/// A tenant with a holder, and a replica beside it that nobody has asked yet.
pub(super) struct Pair {
    pub(super) scene: Scene,
    pub(super) other: Replica,
    pub(super) agent: Agent,
    /// Made at the holder.
    pub(super) session: String,
    pub(super) ciphertext: String,
}

fn told(answer: &Answer) -> String {
    if answer.is_ok() {
        "ok".to_owned()
    } else {
        answer.error().to_owned()
    }
}

impl Pair {
    pub(super) async fn new(name: &str, verify: &str) -> Result<Self> {
        let scene = Scene::with(name, verify).await?;
        let env = &scene.world.env;
        let other = Replica::serving(env, "other").await?;
        let agent = env.agent(&other.operator).await?;
        let session = scene.app.begin(&scene.agent).await?;
        let ciphertext = scene.app.seal(&scene.agent, &session, "hello").await?;
        ensure!(!other.holds().await?);
        Ok(Self {
            scene,
            other,
            agent,
            session,
            ciphertext,
        })
    }

    pub(super) fn app(&self) -> &Workload {
        &self.scene.app
    }

    pub(super) async fn read(&self) -> Result<String> {
        let answer = self
            .app()
            .decrypt(&self.agent, &self.session, &self.ciphertext)
            .await?;
        Ok(told(&answer))
    }

    /// The same where the first call may be made again.
    pub(super) async fn first_read(&self) -> Result<String> {
        let decrypt = || {
            self.app()
                .decrypt(&self.agent, &self.session, &self.ciphertext)
        };
        let answer = self.agent.first(&self.app().token, decrypt).await?;
        Ok(told(&answer))
    }

    async fn until(&self, wanted: &str, within: Duration) -> Result<Duration> {
        let since = Instant::now();
        loop {
            let read = self.read().await?;
            if read == wanted {
                return Ok(since.elapsed());
            }
            ensure!(
                since.elapsed() < within,
                "{read}, not {wanted}:\n{}",
                self.other.operator.log()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_replica_proves_a_tenant_once_for_all_who_ask_and_only_while_it_is_used() -> Result<()> {
    let pair = &Pair::new("guest", QUICK).await?;
    let env = &pair.scene.world.env;
    ensure!(
        pair.other.ways.cloud.connections().is_empty(),
        "it called the cloud for nobody"
    );
    let before = env.cloud.count("*", "unwrapkey");
    // What the holder issued and encrypted is good here, for many at once.
    let asked = Instant::now();
    let reads = try_join_all((0..40).map(|_| pair.first_read())).await?;
    ensure!(reads.iter().all(|read| read == "ok"), "{reads:?}");
    let own = pair.app().begin(&pair.agent).await?;
    ensure!(
        pair.app()
            .open(&pair.scene.agent, &own, &pair.ciphertext)
            .await?
            == "hello"
    );
    let tapped = pair.other.ways.cloud.connections().len();
    ensure!(tapped > 0, "it proved nothing");
    let calls = env.cloud.count("*", "unwrapkey") - before;
    // One here, and the holder's own in the meantime; then each again with its next check.
    let most = 3 + usize::try_from(asked.elapsed().as_secs() / 2)?;
    ensure!(calls <= most, "{calls} unwraps for 40 callers");

    // Proved again while it is used, then no more.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(12) {
        ensure!(pair.read().await? == "ok");
        sleep(Duration::from_millis(200)).await;
    }
    let used = pair.other.ways.cloud.connections().len();
    ensure!(used > tapped, "a tenant in use was not proved again");
    let held = async || {
        let metrics = pair.other.operator.metrics().await?;
        Ok(metrics.contains("tenantkms_guests 0") && metrics.contains("tenantkms_keys_held 0"))
    };
    eventually(
        "the unused tenant to be let go",
        Duration::from_secs(30),
        held,
    )
    .await?;
    // It is to be proved anew, which may take longer than a call waits.
    pair.until("ok", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn every_replica_obeys_the_no_and_what_it_sees() -> Result<()> {
    let pair = &Pair::new("guest-no", QUICK).await?;
    let world = &pair.scene.world;
    ensure!(pair.first_read().await? == "ok");
    world.key.disable();
    let took = pair.until("tenant_sealed", SOON).await?;
    // Long before its proof is too old.
    ensure!(took < Duration::from_secs(30), "obeyed after {took:?}");
    // Whatever somebody writes into the status, a replica without a proof gives nothing.
    let forged = json!({ "status": { "phase": "Active", "conditions": [] } }).to_string();
    patch(&world.env, "acme", true, "merge", &forged).await?;
    let read = pair.read().await?;
    ensure!(read != "ok", "a forged status opened a ciphertext");
    world.key.enable();
    let unseal = json!({ "metadata": { "annotations": {
        "tenantkms.dev/unseal-requested-at": "now" } } });
    patch(&world.env, "acme", false, "merge", &unseal.to_string()).await?;
    // Unsealed: the former session is over here too.
    pair.until("session_invalid", SOON).await?;
    let new = pair.app().begin(&pair.agent).await?;
    ensure!(pair.app().open(&pair.agent, &new, &pair.ciphertext).await? == "hello");

    suspend(&world.env, "acme", true).await?;
    // Before a watch that said nothing would be made anew.
    pair.until("tenant_suspended", Duration::from_secs(15))
        .await?;
    Ok(())
}

#[tokio::test]
async fn without_the_cloud_a_replica_that_has_no_proof_says_so_soon() -> Result<()> {
    let pair = &Pair::new("guest-hang", QUICK).await?;
    let world = &pair.scene.world;
    world
        .env
        .cloud
        .fault(Fault::on(&world.vault.host(), Effect::Hang));
    let asked = Instant::now();
    ensure!(pair.read().await? == "kms_unavailable");
    let took = asked.elapsed();
    // Sooner than the check itself is given up.
    ensure!(took < Duration::from_secs(8), "said so after {took:?}");
    // The holder has its proof.
    let answer = pair
        .app()
        .open(&pair.scene.agent, &pair.session, &pair.ciphertext)
        .await?;
    ensure!(answer == "hello");
    Ok(())
}

#[tokio::test]
async fn a_replica_that_is_cut_off_stops_when_its_proof_is_too_old() -> Result<()> {
    let pair = &Pair::new("cut-off", QUICK).await?;
    ensure!(pair.first_read().await? == "ok");
    let cut = Instant::now();
    pair.other.ways.cut();
    // The customer says no, and the replica cannot hear of it.
    pair.scene.world.key.disable();
    let mut last = cut;
    loop {
        let asked = Instant::now();
        let read = pair.read().await?;
        if read == "ok" {
            last = asked;
            ensure!(
                last - cut < Duration::from_secs(61),
                "served {:?} after",
                last - cut
            );
        } else if asked - cut > Duration::from_secs(75) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let served = last - cut;
    ensure!(
        served > Duration::from_secs(40),
        "an outage is no no: {served:?}"
    );
    let metrics = pair.other.operator.metrics().await?;
    ensure!(
        metrics.contains("tenantkms_keys_held 0"),
        "keys are still held"
    );
    Ok(())
}

/// Only what is connected falls silent, as behind a balancer that forgot its flows: new connections,
/// and so reviews and checks, work.
#[tokio::test]
async fn a_replica_whose_watch_fell_silent_hears_of_a_suspension() -> Result<()> {
    let pair = &Pair::new("silent", QUICK).await?;
    ensure!(pair.first_read().await? == "ok");
    pair.other.ways.api.cut_open();
    let suspend = r#"{"spec":{"suspend":true}}"#;
    patch(&pair.scene.world.env, "acme", false, "merge", suspend).await?;
    pair.until("tenant_suspended", Duration::from_mins(1))
        .await?;
    Ok(())
}

/// The tenant, once it has another master key.
async fn rotated(world: &World) -> Result<Value> {
    rotate(world).await?;
    let two = |object: &Value| {
        object["status"]["masterKeys"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    };
    world.env.wait("acme", "two master keys", SOON, two).await
}

#[tokio::test]
async fn a_master_key_that_is_erased_is_gone_on_every_replica() -> Result<()> {
    let pair = &Pair::new("guest-erased", QUICK).await?;
    let env = &pair.scene.world.env;
    let tenant = rotated(&pair.scene.world).await?;
    ensure!(
        pair.first_read().await? == "ok",
        "the former key is open here"
    );
    let former = tenant["status"]["masterKeys"][1]["id"].as_str();
    erase_first(env, former.context("two keys")?).await?;
    // The session began with the key that is no more.
    pair.until("session_invalid", SOON).await?;
    for agent in [&pair.agent, &pair.scene.agent] {
        let app = pair.app();
        let new = app.begin(agent).await?;
        let read = app.decrypt(&pair.agent, &new, &pair.ciphertext).await?;
        read.refused("key_erased")?;
        let sealed = app.seal(agent, &new, "hello").await?;
        ensure!(app.open(&pair.agent, &new, &sealed).await? == "hello");
    }
    ensure!(!pair.other.holds().await?);
    Ok(())
}

#[tokio::test]
async fn a_former_master_key_opens_on_a_replica_that_never_saw_it() -> Result<()> {
    let pair = &Pair::new("guest-former", QUICK).await?;
    let tenant = rotated(&pair.scene.world).await?;
    ensure!(
        pair.first_read().await? == "ok",
        "neither the session nor the ciphertext is of the new key"
    );
    let made = pair
        .app()
        .encrypt(&pair.agent, &pair.session, "hello")
        .await?
        .ok()?;
    let active = &tenant["status"]["masterKeys"][0];
    ensure!(
        active["state"] == "active" && made.body["key_id"] == active["id"],
        "{made:?}"
    );
    // And the next holder has it all when this one is gone.
    pair.scene.operator.kill().await?;
    pair.other
        .until_holds(true, Duration::from_secs(40))
        .await?;
    let since = Instant::now();
    loop {
        match pair.read().await?.as_str() {
            "ok" => return Ok(()),
            other => ensure!(since.elapsed() < SOON, "{other} after the take-over"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_replica_that_stood_still_over_a_seal_serves_nothing_after_it() -> Result<()> {
    let pair = &Pair::new("stood-still", QUICK).await?;
    let env = &pair.scene.world.env;
    ensure!(pair.first_read().await? == "ok");
    pair.other.operator.pause()?;
    pair.scene.world.key.disable();
    env.wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), SOON)
        .await?;
    sleep(Duration::from_secs(11)).await; // the fault: the interval, and longer than a busy machine is late
    // Sent while it stands still: it lies in the sockets and is the first that is read.
    let woken = async {
        sleep(Duration::from_millis(300)).await;
        pair.other.operator.resume()
    };
    let (read, woken) = tokio::join!(pair.read(), woken);
    woken?;
    // A connection whose time was up meanwhile is closed instead: that is no service either.
    let served = read.is_ok_and(|read| read == "ok");
    ensure!(!served, "served after the seal");
    pair.until("tenant_sealed", SOON).await?;
    Ok(())
}
