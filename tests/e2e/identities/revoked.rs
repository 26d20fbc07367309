//! The grant ends at the identity provider alone. The vault still takes the tokens it gave, so the
//! operator must not live on one for longer than proofTTL.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fakecloud::{ENTRA_HOST, Effect, Fault, Scope};
use serde_json::json;

use super::{AUDIENCE, KEY, Town, tenant};
use crate::support::SOON;

/// proofTTL and interval, a confirmation, and the time a status takes on a busy machine to be written and seen.
const LIMIT: Duration = Duration::from_secs(60 + 5 + 20);

/// Besides the operator the application trusts `friends`, who stay: issuer and subject.
async fn sealed_by(
    name: &str,
    friends: &[(Option<&str>, &str)],
    revoke: impl FnOnce(&Town),
    code: &str,
    hint: &str,
) -> Result<()> {
    let town = Town::new(name).await?;
    for (issuer, subject) in friends {
        let issuer = issuer.unwrap_or(&town.issuer);
        town.app.federate(issuer, subject, AUDIENCE);
    }
    town.trust(&town.own_subject());
    let _operator = town.with_workload_identity("*", KEY).await?;
    town.env.apply(&tenant("acme", "")).await?.success()?;
    town.active("acme").await?;
    revoke(&town);
    let begun = Instant::now();
    let sealed = town
        .env
        .wait_condition("acme", "Sealed", "True", Some("AccessDenied"), LIMIT + SOON)
        .await?;
    let took = begun.elapsed();
    ensure!(took < LIMIT, "sealed after {took:?}");
    let error = &sealed["status"]["lastVerifyError"];
    ensure!(error["code"] == format!("AADSTS{code}"), "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    ensure!(message.contains(hint), "{message}");
    // Nothing was touched at the vault.
    town.vault.grant(town.app.principal(), Scope::Vault);
    town.env.cloud.clear_faults();
    town.app.enable();
    town.trust(&town.own_subject());
    town.env
        .wait_condition("acme", "Active", "True", Some("Verified"), 2 * SOON)
        .await
        .map(drop)
}

/// What Entra says from now on, where the fake has no state that makes it say so.
fn says(town: &Town, number: u32) {
    let body = json!({ "error": "invalid_request", "error_codes": [number] }).to_string();
    let refusal = Effect::Status {
        status: 400,
        body,
        retry_after: None,
        headers: Vec::new(),
    };
    let fault = Fault::on(ENTRA_HOST, refusal).operation("token");
    town.env.cloud.fault(fault);
}

const OTHER: &str = "system:serviceaccount:other:friend";

#[tokio::test]
async fn a_disabled_application_is_heard() -> Result<()> {
    let disable = |town: &Town| town.app.disable();
    sealed_by("iddisabled", &[], disable, "7000112", "accountEnabled=true").await
}

fn untrust(town: &Town) {
    town.app.unfederate(&town.own_subject());
}

#[tokio::test]
async fn a_removed_federated_credential_is_heard() -> Result<()> {
    let hint = "its subject is named by none";
    sealed_by("idremoved", &[(None, OTHER)], untrust, "700213", hint).await
}

#[tokio::test]
async fn the_last_federated_credential_removed_is_heard() -> Result<()> {
    sealed_by("idlast", &[], untrust, "70025", "there is none at all").await
}

#[tokio::test]
async fn the_only_one_of_this_cluster_removed_is_heard() -> Result<()> {
    let friend = (
        Some("https://token.actions.githubusercontent.com"),
        "repo:a/b",
    );
    let hint = "its issuer is trusted by none";
    sealed_by("idissuer", &[friend], untrust, "700211", hint).await
}

#[tokio::test]
async fn another_audience_in_the_federated_credential_is_heard() -> Result<()> {
    let change = |town: &Town| {
        untrust(town);
        let subject = town.own_subject();
        town.app.federate(&town.issuer, &subject, "api://other");
    };
    let hint = "its audience is named by none";
    sealed_by("idaudience", &[], change, "700212", hint).await
}

#[tokio::test]
async fn no_matching_record_is_heard() -> Result<()> {
    let hint = "none names its subject and issuer";
    sealed_by("idnorecord", &[], |town| says(town, 70_021), "70021", hint).await
}

#[tokio::test]
async fn a_removed_service_principal_is_heard() -> Result<()> {
    let hint = "has no service principal";
    let remove = |town: &Town| says(town, 7_000_229);
    sealed_by("idprincipal", &[], remove, "7000229", hint).await
}
