//! In one cluster: records that were lost, emptied or orphaned, and what is refused.

use anyhow::{Result, ensure};
use harness::Env;
use serde_json::{Value, json};

use super::{ask, export, ids, keyring, keyring_as, refused};
use crate::lifecycle::{ACTIVE, FAILED, RARELY, break_glass, rights};
use crate::seen::{self, eventually, patch, record, wait_row};
use crate::support::{SOON, World, manifest};

/// Puts this in the place of the record's content, as an administrator who broke the glass.
async fn overwrite(env: &Env, body: &str) -> Result<()> {
    let secret = record(env, "acme").await?.secret;
    let patch = format!(
        "--patch={}",
        json!({ "stringData": { "record.json": body } })
    );
    let args = ["patch", "secret", &secret, "--type=merge", &patch, "-n"];
    let args = [&args[..], &[env.records_namespace.as_str()]].concat();
    eventually("the record may be written", SOON, async || {
        Ok(env.control.kubectl(&args).await?.status)
    })
    .await
}

#[tokio::test]
async fn a_namespace_created_again_gets_its_keys_back() -> Result<()> {
    let world = World::new("drill-ns").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let (kept, rights) = (ids(env).await?, rights(&world, &env.namespace).await?);
    let file = export(env, "a.json").await?;
    let adopt = ["adopt", "acme", "-n", &env.namespace];
    refused(env, &adopt, "belongs to this namespace already").await?;

    for verb in ["delete", "create"] {
        let args = [verb, "namespace", &env.namespace];
        env.control.kubectl(&args).await?.success()?;
    }
    let apply = ["apply", "-f", "-"];
    env.control
        .kubectl_stdin(&apply, &rights)
        .await?
        .success()?;
    env.apply(&manifest("acme", RARELY)).await?.success()?;
    let foreign = wait_row(env, "acme", FAILED, SOON).await?;
    ensure!(seen::reason(&foreign, "Ready") == "KeyringForeign");
    let message = foreign["status"]["conditions"].to_string();
    for command in [
        "tenantkms.dev/break-glass=adopt",
        "tenant-kms keyring adopt",
    ] {
        ensure!(message.contains(command), "{message}");
    }
    let before = record(env, "acme").await?;
    refused(env, &adopt, "tenantkms.dev/break-glass=adopt\n").await?;
    let import = ["import", "-f", &file];
    let hinted = keyring(env, &import).await?.success()?;
    ensure!(hinted.contains("tenant-kms keyring adopt"), "{hinted}");
    ensure!(record(env, "acme").await? == before);

    break_glass(env).await?;
    keyring(env, &adopt).await?.success()?;
    let mut wanted = before.body;
    let after = record(env, "acme").await?.body;
    wanted["namespaceUid"] = after["namespaceUid"].clone();
    ensure!(after["tenantUid"] == wanted["tenantUid"] && after["keyring"] == wanted["keyring"]);
    // Nobody asks the operator for anything: it reads such a record again by itself.
    wait_row(env, "acme", ACTIVE, 3 * SOON).await?;
    ensure!(ids(env).await? == kept, "the same master keys");
    Ok(())
}

#[tokio::test]
async fn keys_that_a_record_lost_come_back_from_the_file() -> Result<()> {
    let world = World::new("drill-lost").await?;
    let env = &world.env;
    let operator = world.operator().await?;
    world.active(RARELY).await?;
    let file = export(env, "a.json").await?;
    let whole = record(env, "acme").await?.body;
    operator.terminate().await?;
    break_glass(env).await?;
    let mut emptied = whole.clone();
    emptied
        .as_object_mut()
        .and_then(|all| all.remove("keyring"));
    for (body, reason, more) in [
        (emptied.to_string(), "KeyringMissing", &[][..]),
        ("{".to_owned(), "KeyringCorrupt", &["--replace-damaged"][..]),
    ] {
        overwrite(env, &body).await?;
        let operator = world.operator().await?;
        eventually(reason, 2 * SOON, async || {
            let object = env.tenant("acme").await?;
            Ok(seen::row(&object) == FAILED && seen::reason(&object, "Ready") == reason)
        })
        .await?;
        let import = [&["import", "-f", &file], more].concat();
        if !more.is_empty() {
            refused(env, &import[..3], "--replace-damaged").await?;
        }
        keyring(env, &import).await?.success()?;
        // By itself, without a restart and without being asked.
        wait_row(env, "acme", ACTIVE, 3 * SOON).await?;
        let now = record(env, "acme").await?.body;
        ensure!(now["keyring"] == whole["keyring"], "{now}");
        operator.terminate().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_running_operator_takes_a_newer_file_and_no_older_one() -> Result<()> {
    let world = World::new("drill-newer").await?;
    let env = &world.env;
    let _operator = world.operator().await?;
    world.active(RARELY).await?;
    let old = export(env, "old.json").await?;
    let first = record(env, "acme").await?.body;
    // A change of the keyring that needs no hour's wait: the same master keys under another key.
    let other = world.vault.create_key("another-key").url();
    let key = json!({ "spec": { "kmsKeyRef": other } }).to_string();
    patch(env, "acme", false, "merge", &key).await?;
    let moved = async || -> Result<bool> {
        let keyring = record(env, "acme").await?.body["keyring"].clone();
        Ok(keyring["revision"] == 2 && keyring["kek"]["keyId"] == other.as_str())
    };
    eventually("moved", 2 * SOON, &moved).await?;
    let kept = ids(env).await?;
    let new = export(env, "new.json").await?;
    let unchanged = keyring(env, &["import", "-f", &old]).await?.success()?;
    ensure!(unchanged.contains("Nothing was changed"), "{unchanged}");
    let again = ["export", "acme", "-n", &env.namespace, "-o", &old];
    refused(env, &again, "--force").await?;

    // An old record is put back behind the operator's back, and then what was exported last.
    break_glass(env).await?;
    overwrite(env, &first.to_string()).await?;
    keyring(env, &["import", "-f", &new]).await?.success()?;
    ensure!(moved().await? && ids(env).await? == kept);
    patch(env, "acme", false, "merge", &ask("two")).await?;
    env.wait("acme", "asked, answered and Active", 2 * SOON, |object| {
        object["status"]["handledRequests"]["verifyRequestedAt"] == "two"
            && seen::row(object) == ACTIVE
    })
    .await?;
    ensure!(
        moved().await? && ids(env).await? == kept,
        "nothing was lost in between"
    );

    // A tenant of the same name with keys of its own is not overwritten, and neither are people
    // without rights let in.
    env.kubectl(&["delete", "tkms", "acme"]).await?.success()?;
    let secret = record(env, "acme").await?.secret;
    let delete = ["delete", "secret", &secret, "-n", &env.records_namespace];
    env.control.kubectl(&delete).await?.success()?;
    world.active(RARELY).await?;
    let own = record(env, "acme").await?;
    ensure!(own.body["tenantUid"] != first["tenantUid"]);
    refused(env, &["import", "-f", &new], "never has two keyrings").await?;
    let editor = crate::policies::person(env, "reader", &["view"]).await?;
    let denied = keyring_as(env, &editor, &["import", "-f", &new]).await?;
    ensure!(
        !denied.status && denied.stderr.contains("forbidden"),
        "{}",
        denied.stderr
    );
    let mut damaged: Value = serde_json::from_str(&std::fs::read_to_string(&new)?)?;
    damaged["keyring"]["revision"] = json!(99);
    std::fs::write(&new, damaged.to_string())?;
    refused(env, &["import", "-f", &new], "damaged").await?;
    ensure!(record(env, "acme").await? == own);
    Ok(())
}
