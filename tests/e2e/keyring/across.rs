//! From one cloud to another and back: the same master keys, commitments and tenant, wrapped by the other
//! cloud's key; and there bound to this tenant, so that the blob opens for no other.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::CryptoKey;
use serde_json::{Value, json};

use super::{ACTIVE, RARELY, VERIFY, ask, commitments, ids, open, spec, versions};
use crate::faults::film::Film;
use crate::seen::{self, record};
use crate::support::{CLIENT, DIRECTORY, SOON, VARIABLE, World, policy};

const KEY: &str = "projects/acme-prod/locations/eur4/keyRings/tenants/cryptoKeys/acme";

/// Opens the active version of a record with the customer's key in Google's cloud, as this tenant's.
fn open_at_google(key: &CryptoKey, body: &Value, tenant_uid: &str) -> Result<Option<Vec<u8>>> {
    let last = versions(body).last().context("a version")?;
    let wrapped = STANDARD.decode(last["wrapped"].as_str().context("a blob")?)?;
    let mut aad = Vec::new();
    for part in ["tenantkms.dev/gcp/v1", tenant_uid] {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part.as_bytes());
    }
    Ok(key.open(&wrapped, &aad))
}

async fn moved(world: &World, generation: u64, version: &str) -> Result<Value> {
    let env = &world.env;
    env.wait("acme", "moved", 2 * SOON, |object| {
        let status = &object["status"];
        status["observedGeneration"] == generation
            && status["kekVersion"] == version
            && seen::row(object) == ACTIVE
    })
    .await?;
    Ok(record(env, "acme").await?.body)
}

#[tokio::test]
async fn a_tenant_moves_to_another_cloud_and_back() -> Result<()> {
    let world = World::new("keys-across").await?;
    let env = &world.env;
    let gcp = env.cloud.gcp();
    let own = gcp.service_account("operator@platform-1.iam.gserviceaccount.com");
    gcp.machine_account(Some(&own));
    let key = gcp.create_key(KEY);
    let namespace = &env.namespace;
    env.write_config(&format!(
        "{}operatorIdentity: {{ allow: [{{ tenants: ['{namespace}/acme'], keys: ['{KEY}'] }}] }}\n",
        policy(namespace)
    ));
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let before = record(env, "acme").await?.body;
    let known = open(&world.key, &before)?;
    let film = Film::start(env, "acme").await?;

    // Without the role there the verified key stays in force.
    let there = json!({ "provider": "gcp", "kmsKeyRef": KEY, "azure": null });
    spec(env, there).await?;
    env.wait("acme", "refused by the other cloud", SOON, |object| {
        seen::reason(object, "ConfigAccepted") == "AccessDenied"
    })
    .await?;
    let role = "roles/cloudkms.cryptoKeyEncrypterDecrypter";
    gcp.grant(KEY, &own.member(), role)?;
    ask(env, VERIFY, "granted").await?;
    let after = moved(&world, 2, "1").await?;
    ensure!(ids(&after) == ids(&before) && commitments(&after) == commitments(&before));
    let uid = after["tenantUid"].as_str().context("a uid")?;
    ensure!(after["tenantUid"] == before["tenantUid"]);
    ensure!(
        after["keyring"]["kek"]["provider"] == "gcp" && after["keyring"]["kek"]["keyId"] == KEY
    );
    let opened = open_at_google(&key, &after, uid)?;
    ensure!(opened.as_ref() == known.values().last(), "the same bytes");
    let other = "0".repeat(uid.len());
    ensure!(
        open_at_google(&key, &after, &other)?.is_none(),
        "opens for another tenant"
    );

    let back = json!({
        "provider": "azure", "kmsKeyRef": world.key.url(), "gcp": null,
        "azure": {
            "tenantId": DIRECTORY, "clientId": CLIENT, "clientSecret": { "envVar": VARIABLE },
        },
    });
    spec(env, back).await?;
    let back = moved(&world, 3, &world.key.version()).await?;
    ensure!(open(&world.key, &back)? == known && commitments(&back) == commitments(&before));
    film.always_active()
}
