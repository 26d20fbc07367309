//! From each cloud to each other: the same master keys, so that everything encrypted before opens; and the key that
//! was left behind is asked for nothing any more, though its customer has not taken it away.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fakecloud::Call;
use harness::{Agent, Cloud, Customer, Env, Identity, Workload};
use serde_json::{Value, json};

use super::{ACTIVE, commitments, ids};
use crate::faults::film::Film;
use crate::seen::{self, patch, record};
use crate::support::SOON;

/// Every way from one cloud to another, once.
const WAYS: [Cloud; 7] = {
    use Cloud::{Aws, Azure, Gcp};
    [Azure, Aws, Gcp, Azure, Gcp, Aws, Azure]
};

struct Moving {
    env: Env,
    agent: Agent,
    app: Workload,
    ciphertext: String,
    before: Value,
}

impl Moving {
    /// Applies what makes the tenant use `to`, and waits until its key wraps the master keys.
    async fn moves(&self, to: &Customer, generation: usize) -> Result<()> {
        let env = &self.env;
        patch(env, "acme", false, "merge", &to.patch().to_string()).await?;
        to.let_in(env).await?;
        env.wait("acme", "moved", 2 * SOON, |object| {
            object["status"]["observedGeneration"] == generation && seen::row(object) == ACTIVE
        })
        .await?;
        let after = record(env, "acme").await?.body;
        let kek = &after["keyring"]["kek"];
        ensure!(kek["provider"] == to.cloud.name(), "{kek}");
        ensure!(
            kek["keyId"] == to.key() && after["claim"] == to.key(),
            "{kek}"
        );
        ensure!(ids(&after) == ids(&self.before), "other master keys");
        ensure!(commitments(&after) == commitments(&self.before));
        ensure!(after["tenantUid"] == self.before["tenantUid"]);
        ensure!(after["sealEpoch"] == self.before["sealEpoch"]);
        Ok(())
    }

    /// What was encrypted at first opens on a new proof by `to`, and `former` was not asked for it.
    async fn works(&self, to: &Customer, former: &Customer) -> Result<()> {
        let since = Instant::now();
        let cloud = &self.env.cloud;
        let checked =
            |call: &Call| call.instant > since && call.status == 200 && to.is_checked_by(call);
        cloud.wait_for_call(checked, SOON).await?;
        let session = self.app.begin(&self.agent).await?;
        let opened = self.app.open(&self.agent, &session, &self.ciphertext);
        ensure!(opened.await? == "hello");
        let asked = |call: &Call| call.instant > since && call.is(&former.host(), "*");
        let calls = cloud.calls();
        ensure!(!calls.iter().any(asked), "{} was asked", former.cloud);
        Ok(())
    }
}

#[tokio::test]
async fn a_tenant_moves_from_each_cloud_to_each_other() -> Result<()> {
    let env = Env::new("keys-everywhere").await?;
    let issuer = env.issuer().await?;
    let new = |cloud| Customer::new(&env, cloud, "acme", Identity::Given, &issuer);
    let customers = Cloud::ALL
        .map(new)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let of = |cloud| {
        let mut all = customers.iter();
        all.find(|one| one.cloud == cloud).context("a customer")
    };
    env.configure(&customers);
    let operator = env.spawn(env.agent_options()).await?;
    let agent = env.agent(&operator).await?;
    let verify = json!({ "interval": "5s", "proofTTL": "1m" });
    env.bring(of(WAYS[0])?, verify).await?;
    let app = env.workload("app", "acme", &["session"]).await?;
    let session = app.begin(&agent).await?;
    let moving = Moving {
        ciphertext: app.seal(&agent, &session, "hello").await?,
        before: record(&env, "acme").await?.body,
        agent,
        app,
        env,
    };
    let film = Film::start(&moving.env, "acme").await?;
    for (step, way) in WAYS.windows(2).enumerate() {
        let (former, to) = (of(way[0])?, of(way[1])?);
        let told = || format!("from {} to {}", former.cloud, to.cloud);
        moving.moves(to, step + 2).await.with_context(told)?;
        moving.works(to, former).await.with_context(told)?;
    }
    film.always_active()
}
