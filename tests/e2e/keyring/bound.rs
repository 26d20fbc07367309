//! What Cloud KMS wrapped for one tenant opens for no other, in whose record ever it is put: the service
//! itself refuses it, for the binding is the other tenant's.

use std::time::Duration;

use anyhow::{Result, ensure};
use fakecloud::Call;
use serde_json::json;

use super::{ACTIVE, OFTEN, VERIFY, rewrite};
use crate::seen::{self, eventually, patch, record, wait_row};
use crate::support::{SOON, World};

const KEY: &str = "projects/acme-prod/locations/europe-west3/keyRings/tenants/cryptoKeys/shared";
const SEALED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Reconciling=True";
/// proofTTL, and what two cores need on top.
const TTL: Duration = Duration::from_secs(90);

fn manifest(name: &str) -> String {
    format!(
        "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\nmetadata: {{ name: {name} }}\n\
         spec: {{ provider: gcp, kmsKeyRef: {KEY}, verify: {OFTEN} }}\n"
    )
}

#[tokio::test]
async fn a_key_of_another_tenant_is_refused_by_the_key_service() -> Result<()> {
    let world = World::new("keys-bound").await?;
    let (env, gcp) = (&world.env, world.env.cloud.gcp());
    let own = gcp.service_account("operator@platform-1.iam.gserviceaccount.com");
    gcp.machine_account(Some(&own));
    gcp.create_key(KEY);
    let role = "roles/cloudkms.cryptoKeyEncrypterDecrypter";
    gcp.grant(KEY, &own.member(), role)?;
    env.write_config(&format!(
        "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\noperatorIdentity:\n\
         \x20 allow: [{{ tenants: ['{}/*'], keys: ['{KEY}'] }}]\n",
        env.namespace
    ));
    let operator = world.operator().await?;
    for name in ["acme", "birch"] {
        env.apply(&manifest(name)).await?.success()?;
    }
    for name in ["acme", "birch"] {
        wait_row(env, name, ACTIVE, SOON).await?;
    }
    operator.terminate().await?;

    // All that acme has, its commitment too: no check of the operator's own stands in the way.
    let keys = |body: &serde_json::Value| body["keyring"]["versions"].clone();
    let (theirs, own) = (
        keys(&record(env, "acme").await?.body),
        keys(&record(env, "birch").await?.body),
    );
    rewrite(env, "birch", |body| body["keyring"]["versions"] = theirs).await?;
    env.cloud.reset_calls();
    let _operator = world.operator().await?;
    eventually("both are tried", SOON, async || {
        Ok(env.cloud.count("*", "decrypt") >= 2)
    })
    .await?;
    let tokens = env.cloud.count("*", "metadata-token");
    ensure!(tokens == 1, "{tokens} tokens of the operator's for two");
    let sealed = wait_row(env, "birch", SEALED, TTL).await?;
    ensure!(
        seen::reason(&sealed, "Sealed") == "KeyringCorrupt",
        "{sealed:#}"
    );
    // It was not left to the commitment: Cloud KMS itself did not open it.
    let calls = env.cloud.calls();
    let refused = |call: &Call| call.operation == "decrypt" && call.status == 400;
    ensure!(calls.iter().any(refused), "{calls:#?}");
    let acme = env.tenant("acme").await?;
    ensure!(seen::row(&acme) == ACTIVE, "{}", seen::row(&acme));

    // Restored, and asked to look.
    rewrite(env, "birch", |body| body["keyring"]["versions"] = own).await?;
    let ask = json!({ "metadata": { "annotations": { VERIFY: "restored" } } });
    patch(env, "birch", false, "merge", &ask.to_string()).await?;
    wait_row(env, "birch", ACTIVE, TTL).await.map(drop)
}
