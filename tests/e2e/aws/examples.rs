//! The examples of AWS's identities, with what lies beside them.

use anyhow::{Context, Result};
use fakecloud::aws::key::{Key, USE};
use fakecloud::aws::role::Role;
use harness::Env;

use super::{AUDIENCE, OPERATOR, external_id};
use crate::examples::{active_with, example};
use crate::identities::published_issuer;
use crate::support::SOON;

const KEY: &str = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const LENT: &str = "arn:aws:kms:eu-west-1:777788889999:key/0987dcba-09fe-87dc-65ba-ab0987654321";

/// A customer's key, and a role of the same account that may use it and trusts nobody yet.
fn customer(env: &Env, arn: &str) -> (Key, Role) {
    let aws = env.cloud.aws();
    aws.role(OPERATOR).allow(&["sts:AssumeRole"], "*");
    aws.instance_role(Some(OPERATOR));
    let account = arn.split(':').nth(4).unwrap_or_default();
    let role = aws.role(&format!("arn:aws:iam::{account}:role/tenant-kms"));
    role.allow(&USE, arn);
    (aws.create_key_as(arn), role)
}

/// Applied before the customer can have heard of its external id.
#[tokio::test]
async fn a_role_that_trusts_the_operator() -> Result<()> {
    let env = Env::new("exawsrole").await?;
    let (_, role) = customer(&env, KEY);
    let (folder, files) = ("aws-role", [("tenant.yaml", "aspen")]);
    let tenant = example(&env, &format!("{folder}/tenant.yaml"))?;
    env.write_config(&example(&env, &format!("{folder}/operator-config.yaml"))?);
    let operator = env.operator().await?;
    env.apply(&tenant).await?.success()?;
    let issued = |object: &serde_json::Value| external_id(object).is_ok();
    let object = env.wait("aspen", "an external id", SOON, issued).await?;
    role.trust(OPERATOR, Some(external_id(&object)?));
    operator.terminate().await?;
    active_with(&env, env.operator_options(), folder, &files).await
}

#[tokio::test]
async fn a_role_that_trusts_an_account_that_is_lent() -> Result<()> {
    let env = Env::new("exawsaccount").await?;
    let (_, role) = customer(&env, LENT);
    let issuer = published_issuer(&env).await?;
    env.cloud
        .aws()
        .oidc_provider("777788889999", &issuer, &[AUDIENCE]);
    let subject = format!("system:serviceaccount:{}:alder-kms", env.namespace);
    role.trust_web_identity(&issuer, &subject, AUDIENCE);
    let (folder, files) = ("aws-service-account", [("tenant.yaml", "alder")]);
    let lend = example(&env, &format!("{folder}/lend.yaml"))?;
    env.apply(&lend).await?.success().context("lent")?;
    active_with(&env, env.operator_options(), folder, &files).await
}

#[tokio::test]
async fn the_operators_own_identity() -> Result<()> {
    let env = Env::new("exawsown").await?;
    let (key, _) = customer(&env, KEY);
    env.cloud.aws().role(OPERATOR).allow(&USE, KEY);
    key.grant(OPERATOR);
    let (folder, files) = ("aws-own-identity", [("tenant.yaml", "linden")]);
    active_with(&env, env.operator_options(), folder, &files).await
}
