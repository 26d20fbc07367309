//! Tenants on AWS under a running operator: the external id that it issues, a `ServiceAccount` of the tenant, an
//! alias that moves, and what is heard when trust or permission ends or KMS answers otherwise.

mod alias;
mod checks;
mod examples;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fakecloud::aws::key::{Key, USE};
use fakecloud::aws::role::Role;
use harness::Env;
use serde_json::{Value, json};

use crate::identities::published_issuer;
use crate::support::SOON;

const OPERATOR: &str = "arn:aws:iam::111122223333:role/operator";
const ROLE: &str = "arn:aws:iam::444455556666:role/acme-kms";
const ACCOUNT: &str = "444455556666";
const AUDIENCE: &str = "sts.amazonaws.com";

/// A customer with a key, and a role that may use it and trusts nobody yet.
struct Customer {
    env: Env,
    key: Key,
    role: Role,
}

impl Customer {
    async fn new(name: &str) -> Result<Self> {
        let env = Env::new(name).await?;
        let aws = env.cloud.aws();
        aws.role(OPERATOR).allow(&["sts:AssumeRole"], "*");
        aws.instance_role(Some(OPERATOR));
        let key = aws.create_key(ACCOUNT, "eu-central-1");
        let role = aws.role(ROLE);
        role.allow(&USE, key.arn());
        Ok(Self { env, key, role })
    }

    /// Lets the operator's own identity be used for what `acme` names.
    fn allow(&self, arn: &str) {
        self.allow_all(&[arn]);
    }

    fn allow_all(&self, arns: &[&str]) {
        let config = json!({
            "apiVersion": "config.tenantkms.dev/v1alpha1", "kind": "OperatorConfig",
            "operatorIdentity": {
                "allow": [{ "tenants": [format!("{}/acme", self.env.namespace)], "keys": arns }],
            },
        });
        self.env.write_config(&config.to_string()); // JSON is YAML
    }

    async fn apply(&self, arn: &str, more: &str) -> Result<()> {
        let manifest = format!(
            "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\nmetadata: {{ name: acme }}\nspec:\n  \
             provider: aws\n  kmsKeyRef: {arn}\n  aws: {{ roleArn: '{ROLE}'{more} }}\n  verify: {{ \
             interval: 5s, proofTTL: 1m }}\n"
        );
        self.env.apply(&manifest).await?.success().map(drop)
    }

    /// Asks for a try and waits until the last failure has this reason and this in its message.
    async fn refused(&self, reason: &str, hint: &str) -> Result<Value> {
        self.ask().await?;
        let refused = |object: &Value| {
            let error = &object["status"]["lastVerifyError"];
            let message = error["message"].as_str().unwrap_or_default();
            error["reason"] == reason && message.contains(hint)
        };
        self.env.wait("acme", hint, 2 * SOON, refused).await
    }

    async fn active(&self) -> Result<Value> {
        self.ask().await?;
        self.env
            .wait_condition("acme", "Active", "True", Some("Verified"), 2 * SOON)
            .await
    }

    async fn ask(&self) -> Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let request = format!("tenantkms.dev/verify-requested-at={}", now.as_nanos());
        let annotate = ["annotate", "tkms", "acme", &request, "--overwrite"];
        self.env.kubectl(&annotate).await?.success().map(drop)
    }
}

fn external_id(object: &Value) -> Result<&str> {
    object["status"]["externalId"]
        .as_str()
        .context("an external id")
}

#[tokio::test]
async fn a_role_is_assumed_with_the_external_id_that_was_issued() -> Result<()> {
    let customer = Customer::new("awsrole").await?;
    customer.allow(customer.key.arn());
    let _operator = customer.env.operator().await?;
    customer.apply(customer.key.arn(), "").await?;
    // Told before anything works, or nobody could let it work.
    let pending = customer.refused("AccessDenied", "STS refuses role").await?;
    let id = external_id(&pending)?.to_owned();
    ensure!(id.starts_with("tkms-") && id.len() == 37, "{id}");
    let message = pending["status"]["lastVerifyError"]["message"].to_string();
    ensure!(message.contains(&id), "{message}");

    // Another tenant's id is not this one's, and a role without the condition is not used.
    customer
        .role
        .trust(OPERATOR, Some("tkms-of-another-tenant"));
    customer.refused("AccessDenied", "STS refuses role").await?;
    customer.role.trust(OPERATOR, None);
    customer.refused("NotAllowed", "confused deputy").await?;
    ensure!(
        customer.env.cloud.count("*", "encrypt") == 0,
        "KMS was asked"
    );
    customer.role.trust_nobody();
    customer.role.trust(OPERATOR, Some(&id));
    let active = customer.active().await?;
    ensure!(external_id(&active)? == id, "it changed");
    ensure!(
        active["status"]["identity"] == format!("role {ROLE}"),
        "{active}"
    );

    customer.role.allow_nothing();
    let sealed = |reason| {
        let env = &customer.env;
        env.wait_condition("acme", "Sealed", "True", Some(reason), 2 * SOON)
    };
    sealed("AccessDenied").await?;
    customer.role.allow(&USE, customer.key.arn());
    customer.active().await?;
    // A session that was bought goes on at AWS, and is not used for longer than a proof may be.
    customer.role.trust_nobody();
    let within = Duration::from_mins(1) + SOON;
    customer
        .env
        .wait_condition("acme", "Sealed", "True", Some("AccessDenied"), within)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_service_account_of_the_tenant_assumes_its_role() -> Result<()> {
    let customer = Customer::new("awsaccount").await?;
    let env = &customer.env;
    let issuer = published_issuer(env).await?;
    let _operator = env.operator().await?;
    let label = "tenantkms.dev/tenant=acme";
    for command in [
        vec!["create", "serviceaccount", "acme-kms"],
        vec!["label", "serviceaccount", "acme-kms", label],
    ] {
        env.kubectl(&command).await?.success()?;
    }
    let arn = customer.key.arn();
    customer
        .apply(arn, ", serviceAccountName: acme-kms")
        .await?;
    let rights = customer
        .refused("IdentityUnavailable", "serviceaccounts/token")
        .await?;
    let message = rights["status"]["lastVerifyError"]["message"].as_str();
    let message = message.context("a message")?;
    let from = message.find("kubectl ").context("no command")?;
    env.control.shell(&message[from..]).await?.success()?;

    customer
        .refused("AccessDenied", "no OpenID Connect provider")
        .await?;
    env.cloud.aws().oidc_provider(ACCOUNT, &issuer, &[AUDIENCE]);
    customer
        .refused("AccessDenied", "does not name ServiceAccount")
        .await?;
    let subject = format!("system:serviceaccount:{}:acme-kms", env.namespace);
    customer
        .role
        .trust_web_identity(&issuer, &subject, AUDIENCE);
    // To AWS, which lives later, the token has ended: nobody's no.
    env.cloud.aws().set_clock_ahead(1200);
    let expired = customer
        .refused("CredentialRejected", "within its time")
        .await?;
    let error = &expired["status"]["lastVerifyError"];
    ensure!(error["code"] == "ExpiredTokenException", "{error}");
    env.cloud.aws().set_clock_ahead(0);
    let active = customer.active().await?;
    ensure!(active["status"]["externalId"].is_null(), "none is needed");
    ensure!(
        env.cloud.count("*", "assume-role") == 0,
        "its own identity was used"
    );
    Ok(())
}
