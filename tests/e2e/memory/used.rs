//! A tenant in full use on two replicas: sessions of two master keys, ciphertexts, data keys. Whatever ends
//! the use leaves no trace of any key in either of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::{Effect, Fault};
use harness::{Agent, Workload};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::derived::{Derived, Master, of_message, signer};
use super::image::{Find, is_whole, search};
use super::rotated;
use crate::faults::replica::Replica;
use crate::faults::town::{Customer, QUICK, SOON, Town};
use crate::seen::{record, suspend};

/// How long a replica may run after the seal is told until no trace is left: calls that were under way.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The holder, and another replica.
struct Stage {
    town: Town,
    replicas: [Replica; 2],
    agents: [Agent; 2],
}

impl Stage {
    async fn new(name: &str, customers: &[&str]) -> Result<Self> {
        let town = Town::new(name, customers).await?;
        let holder = Replica::serving(&town.env, "holder").await?;
        holder.until_holds(true, SOON).await?;
        let other = Replica::serving(&town.env, "other").await?;
        let agents = [
            town.env.agent(&holder.operator).await?,
            town.env.agent(&other.operator).await?,
        ];
        Ok(Self {
            town,
            replicas: [holder, other],
            agents,
        })
    }
}

/// One tenant's keys of every kind, and what they are called.
#[derive(Default)]
struct Secrets {
    names: Vec<String>,
    keys: Vec<Vec<u8>>,
}

impl Secrets {
    fn add(&mut self, name: impl Into<String>, key: Vec<u8>) {
        self.names.push(name.into());
        self.keys.push(key);
    }

    fn derived(&mut self, name: &str, derived: Derived) {
        self.add(format!("{name}, extracted"), derived.extracted);
        self.add(name, derived.key);
    }

    fn of(&self, name: &str) -> Result<usize> {
        let at = self.names.iter().position(|one| one == name);
        at.with_context(|| format!("no {name}"))
    }

    fn tell(&self, found: &BTreeSet<Find>) -> String {
        let lines = found
            .iter()
            .map(|one| format!("\n{}: {one:?}", self.names[one.key]));
        lines.collect()
    }
}

/// A tenant, the workload that uses it, and all that it was given.
struct Used {
    app: Workload,
    sessions: Vec<String>,
    ciphertexts: Vec<String>,
    data_keys: Vec<Vec<u8>>,
}

impl Used {
    async fn begin(stage: &Stage, customer: &Customer) -> Result<Self> {
        let (env, name) = (&stage.town.env, &customer.name);
        stage.town.active(customer, QUICK).await?;
        Ok(Self {
            app: env.workload(name, name, &["session", "datakey"]).await?,
            sessions: Vec::new(),
            ciphertexts: Vec::new(),
            data_keys: Vec::new(),
        })
    }

    /// Every call on every replica, with every session and ciphertext so far.
    async fn use_it(&mut self, agents: &[Agent]) -> Result<()> {
        for agent in agents {
            self.sessions.push(self.app.begin(agent).await?);
        }
        for (agent, session) in agents
            .iter()
            .flat_map(|agent| self.sessions.iter().map(move |session| (agent, session)))
        {
            let call = async |path: &str, body: Value| {
                let answer = agent.call(path, &self.app.token, session, &body).await?;
                answer.ok()
            };
            let sealed = self.app.seal(agent, session, "hello").await?;
            let data_key = call("data-key", json!({})).await?;
            let plaintext = data_key.text("plaintext")?;
            self.data_keys.push(STANDARD.decode(&plaintext)?);
            let wrapped = data_key.text("ciphertext")?;
            let opened = call("decrypt", json!({ "ciphertext": wrapped })).await?;
            ensure!(opened.text("plaintext")? == plaintext);
            self.ciphertexts.extend([sealed, wrapped]);
            for ciphertext in &self.ciphertexts {
                call("decrypt", json!({ "ciphertext": ciphertext })).await?;
            }
            let items: Vec<_> = self
                .ciphertexts
                .iter()
                .map(|one| json!({ "ciphertext": one }))
                .collect();
            let again = call("rewrap", json!({ "items": items })).await?;
            let again = again.body["items"].as_array().context("items")?.clone();
            let text = |one: &Value| one["ciphertext"].as_str().map(str::to_owned);
            self.ciphertexts
                .extend(again.iter().filter_map(text).take(2));
        }
        Ok(())
    }

    /// Whatever of these calls must not be found.
    async fn secrets(&self, town: &Town, customer: &Customer) -> Result<Secrets> {
        let keyring = record(&town.env, &customer.name).await?.body;
        let uid = keyring["tenantUid"].as_str().context("a uid")?;
        let versions = keyring["keyring"]["versions"].as_array();
        let ids = versions.context("versions")?.iter();
        let ids = ids.map(|one| one["id"].as_str().unwrap_or_default());
        let keys = super::plaintexts(town, customer).await?;
        let masters: Vec<_> = ids
            .zip(keys)
            .map(|(id, key)| Master {
                tenant_uid: uid.to_owned(),
                id: id.to_owned(),
                key,
            })
            .collect();
        let [former, active] = &masters[..] else {
            unreachable!("two master keys");
        };
        let signers: Result<BTreeSet<_>> = self
            .sessions
            .iter()
            .map(|token| Ok(&signer(&masters, token)?.id))
            .collect();
        ensure!(signers? == BTreeSet::from([&former.id, &active.id]));
        let mut secrets = Secrets::default();
        for (which, master) in [("former", former), ("active", active)] {
            secrets.add(format!("{which} master key"), master.key.clone());
            secrets.derived(&format!("{which} session key"), master.session());
        }
        for data_key in &self.data_keys {
            secrets.add("a data key", data_key.clone());
        }
        for ciphertext in &self.ciphertexts {
            secrets.derived("a message's key", of_message(&masters, ciphertext)?);
        }
        Ok(secrets)
    }
}

/// Waits until what is held while it is used lies in the memory of each replica.
async fn there(stage: &Stage, secrets: &Secrets) -> Result<()> {
    for replica in &stage.replicas {
        let since = Instant::now();
        loop {
            let found = search(&replica.operator, &secrets.keys)?;
            let held = ["master key", "session key"].iter().flat_map(|kind| {
                ["former", "active"].map(|which| secrets.of(&format!("{which} {kind}")))
            });
            let held: Vec<usize> = held.collect::<Result<_>>()?;
            if held.iter().all(|key| is_whole(&found, *key)) {
                break;
            }
            let missing = "in use, and yet not all of its keys are in memory";
            ensure!(since.elapsed() < SOON, "{missing}:{}", secrets.tell(&found));
            sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// Waits until none of it is left anywhere, and gives how long that took.
async fn gone(stage: &Stage, secrets: &Secrets, what: &str) -> Result<Duration> {
    let since = Instant::now();
    for (which, replica) in ["the holder", "the other"].iter().zip(&stage.replicas) {
        let mut stopped = Duration::ZERO; // by a search
        loop {
            let begun = since.elapsed();
            let found = search(&replica.operator, &secrets.keys)?;
            if found.is_empty() {
                break;
            }
            let ran = begun.saturating_sub(stopped);
            stopped += since.elapsed().saturating_sub(begun);
            let left = secrets.tell(&found);
            ensure!(ran < AT_ONCE, "{what}, and yet {which} has:{left}");
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(since.elapsed())
}

/// Ends the use of a tenant, which is called like what ends it.
async fn end(stage: &Stage, customer: &Customer, used: &Used) -> Result<()> {
    let (env, name) = (&stage.town.env, &*customer.name);
    let sealed = async |reason: &str, within: Duration| {
        let sealed = env.wait_condition(name, "Sealed", "True", Some(reason), within);
        sealed.await.map(drop)
    };
    match name {
        "denied" => {
            customer.key.disable();
            sealed("KeyDisabled", SOON).await
        }
        "suspended" => {
            suspend(env, name, true).await?;
            let is = |object: &Value| object["status"]["phase"] == "Suspended";
            env.wait(name, "Suspended", SOON, is).await.map(drop)
        }
        "deleted" => {
            let deleted = env.kubectl(&["delete", "tkms", name]).await?;
            deleted.success().map(drop)
        }
        _ => {
            let host = customer.host();
            env.cloud.fault(Fault::on(&host, Effect::Hang));
            // Used until its proof is too old, on both replicas.
            let reading = async {
                loop {
                    for agent in &stage.agents {
                        // Refused sooner or later.
                        used.app
                            .decrypt(agent, &used.sessions[0], &used.ciphertexts[0])
                            .await?;
                    }
                    sleep(Duration::from_millis(500)).await;
                }
            };
            tokio::select! {
                sealed = sealed("Unreachable", 3 * SOON) => sealed,
                ended = reading => ended,
            }
        }
    }
}

#[tokio::test]
async fn whatever_ends_a_tenant_in_full_use_leaves_no_key_on_any_replica() -> Result<()> {
    let names = ["denied", "suspended", "deleted", "hanging"];
    let stage = &Stage::new("memory-used", &names).await?;
    let mut took = Vec::new();
    // One after the other: all sessions are to be good until the end.
    for customer in &stage.town.customers {
        let mut used = Used::begin(stage, customer).await?;
        used.use_it(&stage.agents).await?;
        rotated(&stage.town, customer).await?;
        used.use_it(&stage.agents).await?;
        let secrets = used.secrets(&stage.town, customer).await?;
        there(stage, &secrets).await?;
        used.use_it(&stage.agents).await?;
        let secrets = used.secrets(&stage.town, customer).await?;
        end(stage, customer, &used).await?;
        took.push(gone(stage, &secrets, &customer.name).await?);
    }
    harness::say(&format!(
        "gone after denial, suspend, deletion, outage: {took:?}"
    ));
    Ok(())
}
