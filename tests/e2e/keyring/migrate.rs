//! Another key, of another vault in another directory, reached with another credential: the same
//! master keys, and nobody notices. What does not work changes nothing.

use anyhow::{Context, Result, ensure};
use fakecloud::{Application, Key, Scope, Vault};
use serde_json::{Value, json};

use super::{
    ACTIVE, RARELY, REFUSED, SEALED, VERIFY, ask, commitments, ids, kept, open, spec, two_versions,
    verified,
};
use crate::faults::film::{Film, condition};
use crate::faults::kills::end_lease;
use crate::seen::{self, eventually, record, wait_row};
use crate::support::{SOON, VARIABLE, World, policy};

const DIRECTORY: &str = "99990000-cccc-dddd-eeee-ffff00002222";
const CLIENT: &str = "99990000-3333-4444-5555-666677779999";
const NEW_VARIABLE: &str = "AZURE_KC_NEW_SECRET";
const NEW_SECRET: &str = "n3w~canary-of-the-new-client";
const SEALED_AND_REFUSED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=False Stalled=True";

/// The key to move to.
struct Elsewhere {
    app: Application,
    vault: Vault,
    key: Key,
}

impl Elsewhere {
    fn new(world: &World) -> Self {
        let env = &world.env;
        let directory = env.cloud.directory(DIRECTORY);
        let app = directory.application(CLIENT);
        app.add_secret(NEW_SECRET);
        let vault = env.cloud.vault("acme-new-kv", &directory);
        let key = vault.create_key("moved-here");
        env.set_secret(NEW_VARIABLE, NEW_SECRET);
        let namespace = &env.namespace;
        env.write_config(&format!(
            "{}- {{ name: {NEW_VARIABLE}, tenants: ['{namespace}/*'] }}\n",
            policy(namespace)
        ));
        Self { app, vault, key }
    }

    fn grant(&self) {
        self.vault.grant(self.app.principal(), Scope::Vault);
    }

    fn spec(&self) -> Value {
        json!({
            "kmsKeyRef": self.key.url(),
            "azure": {
                "tenantId": DIRECTORY, "clientId": CLIENT,
                "clientSecret": { "envVar": NEW_VARIABLE },
            },
        })
    }
}

fn former(world: &World) -> Value {
    json!({
        "kmsKeyRef": world.key.url(),
        "azure": {
            "tenantId": crate::support::DIRECTORY, "clientId": crate::support::CLIENT,
            "clientSecret": { "envVar": VARIABLE },
        },
    })
}

/// The record's label by which a claim is found.
async fn claim_label(world: &World) -> Result<String> {
    let env = &world.env;
    let name = record(env, "acme").await?.secret;
    let path = "-o=jsonpath={.metadata.labels.tenantkms\\.dev/claim}";
    let records = env.records_namespace.as_str();
    let args = ["get", "secret", &name, "--namespace", records, path];
    env.control.kubectl(&args).await?.success()
}

#[tokio::test]
async fn a_tenant_moves_to_a_key_elsewhere_without_a_moment_of_not_being_active() -> Result<()> {
    let world = World::new("keys-move").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    let before = two_versions(&world, RARELY).await?;
    let known = open(&world.key, &before)?;
    let label = claim_label(&world).await?;
    let elsewhere = Elsewhere::new(&world);
    let film = Film::start(env, "acme").await?;

    // The new key says no: the verified one stays, and nothing is written.
    let stored = record(env, "acme").await?;
    spec(env, elsewhere.spec()).await?;
    env.wait("acme", "refused by the new key", SOON, |object| {
        seen::row(object) == REFUSED && seen::reason(object, "ConfigAccepted") == "AccessDenied"
    })
    .await?;
    ensure!(record(env, "acme").await? == stored);

    elsewhere.grant();
    ask(env, VERIFY, "granted").await?;
    let active = wait_row(env, "acme", ACTIVE, SOON).await?;
    ensure!(active["status"]["observedGeneration"] == 2);
    ensure!(active["status"]["kekVersion"] == elsewhere.key.version().as_str());
    let identity = active["status"]["identity"].as_str().unwrap_or_default();
    ensure!(identity.contains(CLIENT), "{identity}");
    let after = record(env, "acme").await?.body;
    ensure!(kept(&after) == "1 retired, 2 active", "{}", kept(&after));
    ensure!(ids(&after) == ids(&before) && commitments(&after) == commitments(&before));
    ensure!(after["tenantUid"] == before["tenantUid"] && after["sealEpoch"] == 0);
    let kek = &after["keyring"]["kek"];
    let key_id = kek["keyId"].as_str().context("a key id")?;
    ensure!(key_id.contains("acme-new-kv") && key_id.contains("moved-here"));
    ensure!(kek["version"] == elsewhere.key.version().as_str());
    ensure!(open(&elsewhere.key, &after)? == known, "the same bytes");
    ensure!(open(&world.key, &after).is_err(), "none under the old key");
    ensure!(after["claim"] == kek["keyId"] && after["claim"] != before["claim"]);
    ensure!(claim_label(&world).await? != label, "the old claim is free");

    // The old key is not needed any more, and not asked.
    world.key.delete();
    let asked = env.cloud.count(&world.vault.host(), "*");
    verified(env, "old-one-gone").await?;
    operator.kill().await?;
    end_lease(env).await?;
    let begun = env.cloud.count(&elsewhere.vault.host(), "unwrapkey");
    let _operator = world.operator().await?;
    eventually("another process opens it", SOON, async || {
        Ok(env.cloud.count(&elsewhere.vault.host(), "unwrapkey") > begun)
    })
    .await?;
    verified(env, "by-another-process").await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    ensure!(env.cloud.count(&world.vault.host(), "*") == asked);
    film.always_active()
}

#[tokio::test]
async fn a_sealed_tenant_moves_only_when_its_former_key_opens_once_more() -> Result<()> {
    let world = World::new("keys-move-sealed").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    let before = two_versions(&world, RARELY).await?;
    let elsewhere = Elsewhere::new(&world);
    elsewhere.grant();
    world.key.disable();
    ask(env, VERIFY, "denied").await?;
    wait_row(env, "acme", SEALED, SOON).await?;

    spec(env, elsewhere.spec()).await?;
    let refused = wait_row(env, "acme", SEALED_AND_REFUSED, SOON).await?;
    let said = condition(&refused, "ConfigAccepted").context("said")?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(
        said["reason"] == "KeyDisabled" && message.contains("still wrapped by the former key"),
        "{said}"
    );
    let stored = record(env, "acme").await?.body;
    ensure!(stored["keyring"] == before["keyring"] && stored["claim"] == before["claim"]);

    // The customer agrees once more: both the seal and the refusal are over.
    world.key.enable();
    ask(env, VERIFY, "enabled").await?;
    wait_row(env, "acme", ACTIVE, 2 * SOON).await?;
    let moved = record(env, "acme").await?.body;
    ensure!(ids(&moved) == ids(&before) && commitments(&moved) == commitments(&before));
    ensure!(moved["tenantUid"] == before["tenantUid"]);
    ensure!(open(&elsewhere.key, &moved)? == open(&world.key, &before)?);

    // And back, as long as the customer wants it.
    spec(env, former(&world)).await?;
    env.wait("acme", "back", SOON, |object| {
        object["status"]["observedGeneration"] == 3 && seen::row(object) == ACTIVE
    })
    .await?;
    let back = record(env, "acme").await?.body;
    ensure!(open(&world.key, &back)? == open(&world.key, &before)?);
    ensure!(back["claim"] == before["claim"]);
    Ok(())
}
