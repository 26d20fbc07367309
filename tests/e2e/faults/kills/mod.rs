//! The operator killed (SIGKILL) at a hundred moments while tenants come and change: whatever it
//! was writing, nothing on record is lost, and the next one finds its way to the right state.
//!
//! The moments follow from one seed, printed and settable by `TENANT_KMS_SEED`. One tenant is left
//! alone all the time: nothing ever happens to it.

mod records;
mod script;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Env, Operator};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::sleep_until;

use super::scenario;
use super::town::{QUICK, Town};
use records::Records;
use script::Script;

const KILLS: usize = 100;
/// Where a busy machine starts operators too slowly for their kills to hit anything, more are made.
const MOST_KILLS: usize = 250;
const NAMES: [&str; 10] = [
    "acme",
    "globex",
    "initech",
    "hooli",
    "umbrella",
    "stark",
    "wayne",
    "wonka",
    "tyrell",
    "cyberdyne",
];
/// The tenant that is left alone.
const UNTOUCHED: &str = "aperture";
/// How long a new operator may take until every tenant says what is true.
const SETTLED: Duration = Duration::from_secs(30);
/// What every kill may take on a busy machine, with the operator's life before it.
const EACH: Duration = Duration::from_secs(5);
/// How long to wait for an answer of the cloud that may never come.
const FEW: Duration = Duration::from_secs(2);
/// How long an operator may take from its start until it holds the shard.
pub(crate) const HOLDS: Duration = Duration::from_secs(15);
pub(crate) const HOLDING: &str = "holding the shard";

/// Repeatable choices (`SplitMix64`).
pub struct Dice(u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }
}

/// When an operator is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start.
    After(Duration),
    /// So long after its n-th answer of the cloud once it holds the shard: just when it acts on it.
    Answer(usize, Duration),
}

impl Moment {
    fn roll(dice: &mut Dice) -> Self {
        match dice.below(3) {
            0 => Self::After(dice.millis(700)),
            1 => Self::After(dice.millis(3000)),
            _ => Self::Answer(1 + dice.index(16), dice.millis(60)),
        }
    }

    async fn come(self, env: &Env, operator: &Operator, start: Instant) {
        match self {
            Self::After(time) => sleep_until((start + time).into()).await,
            Self::Answer(number, later) => {
                let answers = || {
                    let calls = env.cloud.calls();
                    calls
                        .iter()
                        .filter(|call| call.instant >= start && call.status != 0)
                        .count()
                };
                // Whatever comes of it: the kill may as well hit one that never holds it.
                let _ = operator.wait_log(HOLDING, HOLDS).await;
                let held = Instant::now();
                while answers() < number && held.elapsed() < FEW {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                tokio::time::sleep(later).await;
            }
        }
    }
}

fn seed() -> Result<u64> {
    if let Ok(text) = std::env::var("TENANT_KMS_SEED") {
        return text.trim().parse().context("TENANT_KMS_SEED is a number");
    }
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random)?;
    Ok(u64::from(u32::from_le_bytes(random)))
}

#[tokio::test]
async fn an_operator_killed_at_any_moment_loses_nothing() -> Result<()> {
    let seed = seed()?;
    harness::say(&format!("TENANT_KMS_SEED={seed}"));
    let most = u32::try_from(MOST_KILLS)?;
    scenario(EACH * most, story(seed))
        .await
        .with_context(|| format!("repeat it with TENANT_KMS_SEED={seed}"))
}

async fn story(seed: u64) -> Result<()> {
    let everybody = [&NAMES[..], &[UNTOUCHED]].concat();
    let town = Town::new("kills", &everybody).await?;
    let env = &town.env;
    let (untouched, others) = town.customers.split_last().context("somebody")?;
    let mut dice = Dice(seed);
    let mut script = Script::new(&town, others).await?;
    let mut records = Records::new(env, UNTOUCHED).await?;
    let first = town.env.operator().await?;
    let film = town.active(untouched, QUICK).await?;
    first.kill().await?;
    script.begin().await?;
    let (mut kills, mut held) = (0, 0);
    // Short of this it would prove nothing.
    let enough = |kills: usize, held: usize, records: &Records| {
        let (seals, unseals, switches) = records.counts();
        kills >= KILLS && held >= KILLS / 2 && seals >= 5 && unseals >= 5 && switches >= 3
    };
    while !enough(kills, held, &records) {
        ensure!(
            kills < MOST_KILLS,
            "the operators did not live long enough: {held} of {kills} held the shard, {:?} seals, \
             unseals, changes of key",
            records.counts()
        );
        kills += 1;
        let kill = kills;
        end_lease(env).await?;
        env.cloud.reset_calls();
        let start = Instant::now();
        let operator = env.spawn(env.operator_options().without_waiting()).await?;
        let settling = kill % 20 == 0;
        let moment = Moment::roll(&mut dice);
        let what = || format!("kill {kill}, {moment:?}:\n{}", operator.log());
        if settling {
            settle(&script, &mut records).await.with_context(what)?;
            operator.kill().await.with_context(what)?;
        } else {
            // What happens does not wait for the operator.
            let killed = async {
                moment.come(env, &operator, start).await;
                operator.kill().await
            };
            let events = script.play(&mut dice, kill);
            let (events, killed) = tokio::join!(events, killed);
            events.and(killed).with_context(what)?;
        }
        held += usize::from(operator.log().contains(HOLDING));
        records.look(&everybody).await.with_context(what)?;
        film.always_active().with_context(what)?;
    }
    script.set_right().await?;
    end_lease(env).await?;
    let operator = env.operator().await?;
    let settled = settle(&script, &mut records).await;
    settled.with_context(|| operator.log())?;
    let ended = Instant::now();
    town.proved(untouched, ended, SETTLED).await?;
    film.always_active()?;
    records.look(&everybody).await?;
    records.has_in_force(UNTOUCHED, &untouched.key.url())?;
    let (seals, unseals, switches) = records.counts();
    harness::say(&format!(
        "{kills} kills, {held} of a holder; {seals} seals, {unseals} unseals, {switches} changes of key"
    ));
    Ok(())
}

/// Waits until every tenant says what is true, and looks that its record does too.
async fn settle(script: &Script<'_>, records: &mut Records) -> Result<()> {
    let since = Instant::now();
    for name in NAMES {
        let Some(truth) = script.truth(name) else {
            continue;
        };
        let proved = records.is_applied(name);
        let left = SETTLED.saturating_sub(since.elapsed());
        let right = |object: &serde_json::Value| truth.is_told(object, proved);
        script
            .town
            .env
            .wait(name, &format!("{truth:?}"), left, right)
            .await?;
    }
    let everybody = [&NAMES[..], &[UNTOUCHED]].concat();
    records.look(&everybody).await?;
    for name in NAMES {
        let Some(truth) = script.truth(name) else {
            continue;
        };
        if truth.is_usable() {
            records.has_in_force(name, &script.key(name, truth))?;
        }
    }
    Ok(())
}

/// The killed holder's Lease has run out, without the wait for it.
pub(crate) async fn end_lease(env: &Env) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(env.client().await?, &env.records_namespace);
    let name = format!("tenant-kms-{}-shard-0", env.installation);
    let nobody = Patch::Merge(json!({ "spec": { "holderIdentity": "" } }));
    match leases.patch(&name, &PatchParams::default(), &nobody).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()), // killed before it had one
        other => Ok(other.map(drop)?),
    }
}
