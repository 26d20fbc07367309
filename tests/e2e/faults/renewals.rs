//! A holder that can do everything but renew its Lease: it stops writing before the Lease ends,
//! although it does not know yet who will be the next.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::film::is;
use super::replica::Replica;
use super::scenario;
use super::town::{QUICK, SOON, Town};

const LEASE: SignedDuration = SignedDuration::from_secs(15);
/// Its holder stops writing 2 s earlier.
const WRITES: SignedDuration = SignedDuration::from_secs(13);

#[tokio::test]
async fn a_holder_that_cannot_renew_stops_writing_in_time() -> Result<()> {
    scenario(Duration::from_mins(3), async {
        let town = Town::new("renewals", &["acme"]).await?;
        let acme = &town.customers[0];
        let old = Replica::start(&town.env, "old").await?;
        old.until_holds(true, SOON).await?;
        let film = town.active(acme, QUICK).await?;
        let new = Replica::start(&town.env, "new").await?;

        refuse_renewals(&town, &old.credential).await?;
        old.operator
            .wait_log("the lease could not be renewed", SOON)
            .await?;
        let renewed = last_renewal(&town, &old)?;
        let over = renewed + WRITES + SignedDuration::from_millis(300);
        let wait = over.duration_since(Timestamp::now());
        tokio::time::sleep(wait.try_into().unwrap_or_default()).await; // the fault
        ensure!(
            last_renewal(&town, &old)? == renewed,
            "it was renewed after all"
        );
        let early = new.holds().await? && Timestamp::now() < renewed + LEASE;
        ensure!(!early, "the Lease has ended too early");

        // Something to write, while neither may.
        let asked = Instant::now();
        town.request(acme, "verify", "between-holders").await?;
        let handled = "/status/handledRequests/verifyRequestedAt";
        film.until("answered", asked, SOON, |object| {
            object
                .pointer(handled)
                .is_some_and(|value| value == "between-holders")
        })
        .await?;
        ensure!(new.holds().await?, "nobody who may has answered");
        old.until_holds(false, SOON).await?;
        let writes = old.writes(&town.env)?;
        let late: Vec<_> = writes
            .iter()
            .filter(|write| write.at > renewed + WRITES)
            .collect();
        ensure!(late.is_empty(), "written without a Lease: {late:?}");
        film.never("sealed by mistake", |object| is(object, "Sealed", "True"))?;
        film.unmoved()
    })
    .await
}

fn last_renewal(town: &Town, replica: &Replica) -> Result<Timestamp> {
    let writes = replica.writes(&town.env)?;
    let leases = writes.iter().filter(|write| write.resource == "leases");
    leases.map(|write| write.at).max().context("never renewed")
}

/// The API server refuses this one replica's writes of Leases, and nothing else.
async fn refuse_renewals(town: &Town, credential: &str) -> Result<()> {
    let name = format!("{}-no-renewals", town.env.namespace);
    let ours =
        json!({ "matchLabels": { "kubernetes.io/metadata.name": town.env.records_namespace } });
    let rule = json!({
        "apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"],
        "operations": ["UPDATE"], "resources": ["leases"],
    });
    let refused = format!(
        "!('authentication.kubernetes.io/credential-id' in request.userInfo.extra) || \
         !('{credential}' in request.userInfo.extra['authentication.kubernetes.io/credential-id'])"
    );
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [rule], "namespaceSelector": ours },
                "validations": [{ "expression": refused, "message": "no renewals for this one" }],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        },
    ]});
    let applied = town
        .env
        .control
        .kubectl_stdin(&["apply", "-f", "-"], &list.to_string())
        .await?;
    applied.success().map(drop)
}
