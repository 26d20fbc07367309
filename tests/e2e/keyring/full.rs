//! A keyring without room for one more version says so, and goes on.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ACTIVE, RARELY, ROTATE, age, ask, ids, open, rewrite, spec, told, verified, versions};
use crate::faults::film::{Film, condition};
use crate::seen::{record, wait_row};
use crate::support::{SOON, World};

const MOST: usize = 64;
const FULL: &str = "Active: Ready=False Active=True Sealed=False ConfigAccepted=True Stalled=True";

#[tokio::test]
async fn a_full_keyring_is_told_and_keeps_working() -> Result<()> {
    let world = World::new("keys-full").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    operator.terminate().await?;
    // Nobody opens a retired version before it is needed: copies of the active one will do.
    rewrite(env, "acme", |body| {
        let mut active = body["keyring"]["versions"][0].clone();
        active["number"] = json!(MOST);
        let retired = (1..MOST).map(|number| {
            let mut one = active.clone();
            one["number"] = json!(number);
            one["id"] = json!(format!("{number:032x}"));
            one["state"] = json!("retired");
            one["retired"] = json!(Timestamp::UNIX_EPOCH);
            one
        });
        let all: Vec<Value> = retired.chain([active.clone()]).collect();
        body["keyring"]["versions"] = json!(all);
    })
    .await?;
    age(env, 2).await?;
    let full = record(env, "acme").await?.body;
    let film = Film::start(env, "acme").await?;
    let _operator = world.operator().await?;
    ask(env, ROTATE, "one-more").await?;
    let object = wait_row(env, "acme", FULL, SOON).await?;
    let said = condition(&object, "Ready").context("said")?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(
        said["reason"] == "KeyringFull" && message.contains("spec.masterKey.erasedIds"),
        "{said}"
    );
    ensure!(
        told(&object).starts_with("55 retired, 56 retired"),
        "the newest ten: {}",
        told(&object)
    );
    let body = record(env, "acme").await?.body;
    ensure!(body["keyring"] == full["keyring"] && body["handled"]["rotateRequestedAt"].is_null());

    // Room is made, and asked for again.
    let oldest = &ids(&full)[0];
    spec(env, json!({ "masterKey": { "erasedIds": [oldest] } })).await?;
    ask(env, ROTATE, "once-again").await?;
    env.wait("acme", "one more version", 2 * SOON, |object| {
        told(object).ends_with("64 retired, 65 active")
    })
    .await?;
    verified(env, "look").await?;
    wait_row(env, "acme", ACTIVE, SOON).await?;
    let body = record(env, "acme").await?.body;
    ensure!(versions(&body).len() == MOST + 1 && open(&world.key, &body)?.len() == MOST);
    film.always_active()
}
