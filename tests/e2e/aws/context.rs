//! What KMS wrapped for one tenant opens for no other, in whose record ever it is put, though both are on the
//! same key of the same customer: the service itself refuses it, for the encryption context is the other's.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::aws::key::USE;
use harness::Env;
use serde_json::Value;

use super::{ACCOUNT, OPERATOR};
use crate::keyring::{ACTIVE, OFTEN, VERIFY, rewrite};
use crate::seen::{self, record, wait_row};
use crate::support::SOON;

const OUTAGE: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Reconciling=True";
/// proofTTL, and what two cores need on top.
const TTL: Duration = Duration::from_secs(90);

fn blob(body: &Value) -> Result<Vec<u8>> {
    let wrapped = body["keyring"]["versions"][0]["wrapped"].as_str();
    Ok(STANDARD.decode(wrapped.context("a blob")?)?)
}

#[tokio::test]
async fn a_key_of_another_tenant_is_refused_by_kms() -> Result<()> {
    let env = Env::new("awscontext").await?;
    let aws = env.cloud.aws();
    aws.instance_role(Some(OPERATOR));
    let key = aws.create_key(ACCOUNT, "eu-central-1");
    aws.role(OPERATOR).allow(&USE, key.arn());
    key.grant(OPERATOR);
    let every = key.arn().split("key/").next().unwrap_or_default();
    env.write_config(&format!(
        "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\noperatorIdentity: {{ allow: \
         [{{ tenants: ['{}/*'], keys: ['{every}key/*'] }}] }}\n",
        env.namespace
    ));
    let operator = env.operator().await?;
    for name in ["acme", "birch"] {
        let manifest = format!(
            "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\nmetadata: {{ name: {name} }}\nspec: \
             {{ provider: aws, kmsKeyRef: '{}', verify: {OFTEN} }}\n",
            key.arn()
        );
        env.apply(&manifest).await?.success()?;
    }
    for name in ["acme", "birch"] {
        wait_row(&env, name, ACTIVE, SOON).await?;
    }
    operator.terminate().await?;

    let (theirs, own) = (
        record(&env, "acme").await?.body,
        record(&env, "birch").await?.body,
    );
    let uid = |body: &Value| body["tenantUid"].as_str().unwrap_or_default().to_owned();
    let opens = |body: &Value, uid: &str| {
        let context = [("tenantkms.dev/tenant-uid", uid)];
        Ok::<_, anyhow::Error>(key.open(&blob(body)?, &context).is_some())
    };
    ensure!(opens(&theirs, &uid(&theirs))? && opens(&own, &uid(&own))?);
    ensure!(!opens(&theirs, &uid(&own))? && !opens(&theirs, "")?);

    // All that acme has, its commitment too: no check of the operator's own stands in the way.
    let keys = theirs["keyring"]["versions"].clone();
    rewrite(&env, "birch", |body| body["keyring"]["versions"] = keys).await?;
    env.cloud.reset_calls();
    let _operator = env.operator().await?;
    let sealed = wait_row(&env, "birch", OUTAGE, TTL).await?;
    let error = &sealed["status"]["lastVerifyError"];
    ensure!(error["reason"] == "KeyringCorrupt", "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    ensure!(message.contains("tenant-kms keyring import"), "{error}");
    let calls = env.cloud.calls();
    let refused = calls
        .iter()
        .any(|call| call.operation == "decrypt" && call.status == 400);
    ensure!(refused, "KMS opened it");
    let acme = env.tenant("acme").await?;
    ensure!(seen::row(&acme) == ACTIVE, "{}", seen::row(&acme));

    let keys = own["keyring"]["versions"].clone();
    rewrite(&env, "birch", |body| body["keyring"]["versions"] = keys).await?;
    let request = format!("{VERIFY}=restored");
    let ask = ["annotate", "tkms", "birch", &request];
    env.kubectl(&ask).await?.success()?;
    wait_row(&env, "birch", ACTIVE, TTL).await.map(drop)
}
