//! Sessions from before their tenant's terms have changed.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{QUICK, SOON};
use crate::lifecycle::ACTIVE;
use crate::local::{both, standard};
use crate::seen::{eventually, patch, record, wait_row};
use crate::support::{World, manifest};

/// As long as it lasts by the terms in force, and a busy machine's lateness.
const MINUTE: Duration = Duration::from_secs(65);

#[tokio::test]
async fn a_session_from_before_the_customers_key_is_held_to_what_the_customer_may_expect()
-> Result<()> {
    let world = World::new("terms").await?;
    let env = &world.env;
    env.add_kek("standard.1");
    env.write_config(&both(&world));
    let operator = env.spawn(env.agent_options()).await?;
    let agent = env.agent(&operator).await?;
    let day = "spec: { session: { ttl: 24h }, provider";
    let platforms = standard(&env.namespace, QUICK).replace("spec: { provider", day);
    env.apply(&platforms).await?.success()?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    let app = env.workload("app", "acme", &["session", "datakey"]).await?;
    let session = app.begin(&agent).await?;
    let call = async |path: &str, body| agent.call(path, &app.token, &session, &body).await;
    let data_key = async || call("data-key", json!({})).await;
    // For how long from now a data key may be kept: a new one, and the same when it is opened.
    let kept = async || {
        let made = data_key().await?.ok()?;
        let sealed = json!({ "ciphertext": made.text("ciphertext")? });
        let opened = call("decrypt", sealed).await?.ok()?;
        let mut longest = SignedDuration::ZERO;
        for answer in [made, opened] {
            let until: Timestamp = answer.text("keep_until")?.parse()?;
            longest = longest.max(until.duration_since(Timestamp::now()));
        }
        Ok::<_, anyhow::Error>(longest)
    };
    ensure!(kept().await? > SignedDuration::from_hours(23));

    env.apply(&manifest("acme", QUICK)).await?.success()?;
    eventually("the customer's key", SOON, async || {
        Ok(record(env, "acme").await?.body["claim"] == world.key.url())
    })
    .await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    // No longer than its proof; and then the session is to last a minute only.
    let most = SignedDuration::from_secs(60);
    let kept_briefly = async || Ok(kept().await? <= most);
    eventually("its terms to be in force", SOON, kept_briefly).await?;
    let minute = json!({ "spec": { "session": { "ttl": "1m" } } }).to_string();
    patch(env, "acme", false, "merge", &minute).await?;
    eventually("the session to be over", MINUTE, async || {
        let answer = data_key().await?;
        let over = answer.error() == "session_expired";
        ensure!(answer.is_ok() || over);
        Ok(over)
    })
    .await
}
