//! An alias that the customer points at another key: told, and not followed before the spec is touched; then the
//! master keys move and all that was encrypted opens.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fakecloud::Call;
use fakecloud::aws::key::{Key, Status, USE};
use harness::{Agent, Operator, Workload};
use serde_json::Value;

use super::{ACCOUNT, Customer, OPERATOR, external_id};
use crate::faults::film::{Film, condition};
use crate::keyring::{commitments, ids};
use crate::seen::{patch, record};
use crate::support::SOON;

/// A tenant that names its key by an alias, and whose customer has let the operator in.
struct Aliased {
    customer: Customer,
    alias: String,
    operator: Operator,
}

impl Aliased {
    async fn new(name: &str) -> Result<Self> {
        let customer = Customer::new(name).await?;
        let alias = customer.key.alias_arn("acme");
        customer.env.cloud.aws().point_alias(&alias, &customer.key);
        customer.allow(&alias);
        let operator = customer.env.spawn(customer.env.agent_options()).await?;
        customer.apply(&alias, "").await?;
        let pending = customer.refused("AccessDenied", "STS refuses role").await?;
        customer.role.trust(OPERATOR, Some(external_id(&pending)?));
        let active = customer.active().await?;
        ensure!(is_wrapped_by(&active, &customer.key), "{active}");
        Ok(Self {
            customer,
            alias,
            operator,
        })
    }

    /// The customer makes another key, lets the role use it, and points the alias at it.
    fn moves(&self) -> Key {
        let aws = self.customer.env.cloud.aws();
        let other = aws.create_key(ACCOUNT, "eu-central-1");
        self.customer.role.allow(&USE, other.arn());
        aws.point_alias(&self.alias, &other);
        other
    }

    /// The condition that tells where the alias went, with its command; asks for it.
    async fn told(&self, other: &Key) -> Result<String> {
        self.customer.ask().await?;
        let moved = |object: &Value| {
            condition(object, "KeyAtRisk").is_some_and(|risk| {
                let message = risk["message"].as_str().unwrap_or_default();
                risk["status"] == "True" && message.contains(other.arn())
            })
        };
        let object = self
            .customer
            .env
            .wait("acme", "the move is told", 2 * SOON, moved)
            .await?;
        let risk = condition(&object, "KeyAtRisk").context("told")?;
        let message = risk["message"].as_str().context("a message")?;
        let from = message.find("kubectl ").context("no command")?;
        Ok(message[from..].to_owned())
    }

    /// Waits until the master keys are wrapped by this key and nothing is at risk.
    async fn follows(&self, other: &Key, generation: u64) -> Result<()> {
        let env = &self.customer.env;
        let followed = |object: &Value| {
            object["status"]["observedGeneration"] == generation
                && is_wrapped_by(object, other)
                && condition(object, "KeyAtRisk").is_some_and(|risk| risk["status"] == "False")
        };
        env.wait("acme", "followed", 2 * SOON, followed).await?;
        let kek = &record(env, "acme").await?.body["keyring"]["kek"];
        ensure!(kek["keyId"] == other.arn(), "{kek}");
        Ok(())
    }
}

fn is_wrapped_by(object: &Value, key: &Key) -> bool {
    let version = object["status"]["kekVersion"].as_str();
    version.is_some_and(|id| key.arn().ends_with(&format!("/{id}")))
}

/// What was encrypted before opens, and from now on KMS is asked for nothing that it refuses.
async fn opens_without(tenant: &Aliased, former: &Key, work: &Work) -> Result<()> {
    former.delete();
    let since = Instant::now();
    let cloud = &tenant.customer.env.cloud;
    let checked = |call: &Call| {
        call.instant > since && call.is(&former.host(), "decrypt") && call.status == 200
    };
    cloud.wait_for_call(checked, SOON).await?;
    work.opens().await?;
    let refused =
        |call: &Call| call.instant > since && call.is(&former.host(), "*") && call.status != 200;
    let calls = cloud.calls();
    ensure!(!calls.iter().any(refused), "the former key was asked");
    Ok(())
}

/// A workload and what it encrypted.
struct Work {
    agent: Agent,
    app: Workload,
    ciphertext: String,
}

impl Work {
    async fn begin(tenant: &Aliased) -> Result<Self> {
        let env = &tenant.customer.env;
        let agent = env.agent(&tenant.operator).await?;
        let app = env.workload("app", "acme", &["session"]).await?;
        let session = app.begin(&agent).await?;
        let ciphertext = app.seal(&agent, &session, "hello").await?;
        Ok(Self {
            agent,
            app,
            ciphertext,
        })
    }

    async fn opens(&self) -> Result<()> {
        let session = self.app.begin(&self.agent).await?;
        let opened = self.app.open(&self.agent, &session, &self.ciphertext);
        ensure!(opened.await? == "hello");
        Ok(())
    }
}

#[tokio::test]
async fn an_alias_that_moves_is_not_followed() -> Result<()> {
    let tenant = Aliased::new("awsalias").await?;
    let env = &tenant.customer.env;
    let other = tenant.moves();
    // A process that remembers nothing finds on record which key it was.
    tenant.operator.kill().await?;
    let _operator = env.operator().await?;
    tenant.told(&other).await?;
    let key = &tenant.customer.key;
    let object = env.tenant("acme").await?;
    ensure!(is_wrapped_by(&object, key), "followed: {object}");
    // Its keys are this tenant's still: without the first key nothing is served.
    key.set_status(Status::Disabled);
    env.wait_condition("acme", "Sealed", "True", Some("KeyDisabled"), 2 * SOON)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_touched_spec_follows_an_alias_that_moved() -> Result<()> {
    let tenant = &Aliased::new("awsfollow").await?;
    let (customer, env) = (&tenant.customer, &tenant.customer.env);
    let before = record(env, "acme").await?.body;
    let work = Work::begin(tenant).await?;
    let film = Film::start(env, "acme").await?;

    // Whatever is touched, the alias is asked for its key again.
    let second = tenant.moves();
    tenant.told(&second).await?;
    let touched = r#"{"spec":{"verify":{"interval":"6s"}}}"#;
    patch(env, "acme", false, "merge", touched).await?;
    tenant.follows(&second, 2).await?;
    opens_without(tenant, &customer.key, &work).await?;

    // As told. The command names the key itself, which the platform has to allow once.
    let third = tenant.moves();
    let command = tenant.told(&third).await?;
    env.control.shell(&command).await?.success()?;
    let refused = customer.refused("NotAllowed", "operatorIdentity.allow");
    let refused = refused.await?;
    ensure!(is_wrapped_by(&refused, &second), "{refused}");
    customer.allow_all(&[&tenant.alias, third.arn()]);
    tenant.follows(&third, 3).await?;
    opens_without(tenant, &second, &work).await?;
    let after = record(env, "acme").await?.body;
    ensure!(ids(&after) == ids(&before) && commitments(&after) == commitments(&before));
    film.always_active()
}
