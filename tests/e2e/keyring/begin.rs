//! The first success makes the first master key; from then on a check is one unwrap, and nobody
//! but the customer's key can tell the key's bytes.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use fakecloud::Call;
use harness::search::{etcd, found, place};

use super::{OFTEN, kept, open, told, versions};
use crate::seen::{eventually, record};
use crate::support::{SOON, World};

/// The bytes in every form in which they could leak.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut hex = String::new();
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    let mut all = vec![bytes.to_vec(), hex.to_uppercase().into(), hex.into()];
    // Where bytes stand in the middle of others, base64 has three forms.
    for skip in 0..3 {
        let whole = (bytes.len() - skip) / 3 * 3;
        all.push(STANDARD_NO_PAD.encode(&bytes[skip..skip + whole]).into());
        all.push(URL_SAFE_NO_PAD.encode(&bytes[skip..skip + whole]).into());
    }
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    all.push(numbers.join(", ").into());
    all.push(numbers.join(",").into());
    all
}

#[tokio::test]
async fn the_first_success_makes_a_key_that_only_the_customers_key_opens() -> Result<()> {
    let world = World::new("keys-begin").await?;
    let env = &world.env;
    let options = env.operator_options().env("TENANT_KMS_LOG", "debug");
    let operator = env.spawn(options.env("RUST_LOG", "trace")).await?;
    world.active(OFTEN).await?;
    let object = env.tenant("acme").await?;
    let body = record(env, "acme").await?.body;

    ensure!(told(&object) == "1 active", "{}", told(&object));
    ensure!(kept(&body) == "1 active" && body["format"] == 2, "{body}");
    let keyring = &body["keyring"];
    ensure!(keyring["revision"] == 1 && keyring["kek"]["provider"] == "azure");
    let version = world.key.version();
    ensure!(keyring["kek"]["version"] == version.as_str());
    ensure!(object["status"]["kekVersion"] == version.as_str());
    ensure!(body["claim"] == keyring["kek"]["keyId"]);
    let told = &object["status"]["masterKeys"][0];
    let one = &versions(&body)[0];
    ensure!(told["id"] == one["id"] && told["retiredTime"].is_null());
    let seconds = |text: &serde_json::Value| text.as_str().map(|text| text[..19].to_owned());
    ensure!(
        seconds(&told["createdTime"]) == seconds(&one["created"]),
        "{told}"
    );

    // Checks: one unwrap each and nothing else.
    let begun = env.cloud.calls().len();
    let unwraps = |calls: &[Call]| calls.iter().filter(|one| one.is("*", "unwrapkey")).count();
    eventually("three checks", SOON, async || {
        Ok(unwraps(&env.cloud.calls()[begun..]) >= 3)
    })
    .await?;
    let calls = env.cloud.calls().split_off(begun);
    ensure!(unwraps(&calls) == calls.len(), "{calls:#?}");
    for pair in calls.windows(2) {
        let pause = pair[1].instant.duration_since(pair[0].instant);
        ensure!(pause > Duration::from_secs(2), "two calls for one check");
    }

    // Its bytes are nowhere, in no form.
    let opened = open(&world.key, &body)?;
    let needles: Vec<_> = opened.values().flat_map(|bytes| forms(bytes)).collect();
    let events = env.kubectl(&["get", "events", "-o", "json"]).await?;
    let mut places = vec![
        place("record", body.to_string()),
        place("object", env.tenant("acme").await?.to_string()),
        place("events", events.success()?),
        place("log", operator.log()),
        place("metrics", operator.metrics().await?),
    ];
    etcd(env.control.etcd_dir(), &mut places)?;
    let leaks = found(&places, &needles);
    ensure!(leaks.is_empty(), "{leaks:#?}");
    // The search does find what is there.
    let wrapped = one["wrapped"].as_str().unwrap_or_default();
    let seen = found(&places, &[wrapped.into()]);
    ensure!(seen.len() >= 2, "in the record and in etcd: {seen:#?}");
    Ok(())
}
