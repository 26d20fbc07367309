//! What the chart's `ClusterRole`s give people: nothing that a workload uses, and to nobody the
//! report. The roles that Kubernetes knows have them by aggregation.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::{Env, Workload};
use serde_json::json;

use crate::policies::person;
use crate::seen::eventually;
use crate::support::{SOON, World};

/// Verb and resource, and the first of view, edit, admin that may; `None`: nobody.
const ANSWERS: [(&str, &str, Option<usize>); 16] = [
    ("get", "tenantkmses", Some(0)),
    ("list", "tenantkmses", Some(0)),
    ("watch", "tenantkmses", Some(0)),
    ("create", "tenantkmses", Some(1)),
    ("update", "tenantkmses", Some(1)),
    ("patch", "tenantkmses", Some(1)),
    ("delete", "tenantkmses", Some(1)),
    ("deletecollection", "tenantkmses", Some(1)),
    ("create", "tenantkmses/rotate", None),
    ("create", "tenantkmses/unseal", None),
    ("create", "tenantkmses/migrate", Some(2)),
    ("create", "tenantkmses/session", None),
    ("create", "tenantkmses/datakey", None),
    ("patch", "tenantkmses/status", None),
    ("update", "tenantkmses/status", None),
    ("get", "secrets", None),
];
const ROLES: [&str; 3] = ["view", "edit", "admin"];

#[tokio::test]
async fn people_may_do_what_is_documented_and_no_more() -> Result<()> {
    let env = Env::new("people").await?;
    for (rank, name) in ROLES.into_iter().enumerate() {
        let kubeconfig = person(&env, name, &ROLES[..=rank]).await?;
        for (verb, resource, first) in ANSWERS {
            let (kind, sub) = resource.split_once('/').unwrap_or((resource, ""));
            let kind = match kind {
                "tenantkmses" => "tenantkmses.tenantkms.dev",
                other => other,
            };
            let sub = format!("--subresource={sub}");
            let args = ["auth", "can-i", verb, kind, &sub];
            let args = [&args[..], &["--namespace", &env.namespace]].concat();
            let expected = match first {
                Some(first) if rank >= first => "yes",
                _ => "no",
            };
            // The authorizer learns of a new binding a moment later.
            eventually(expected, SOON, async || {
                let answer = env.control.kubectl_as(&kubeconfig, &args).await?;
                Ok(answer.stdout.trim() == expected)
            })
            .await
            .with_context(|| format!("{name}: {verb} {resource}: {expected}"))?;
        }
    }
    Ok(())
}

/// Kubernetes' `edit` has what the chart's view and edit give, `admin` all three, `view` the first.
#[tokio::test]
async fn the_roles_of_kubernetes_have_them() -> Result<()> {
    let env = Env::new("aggregated").await?;
    let documents = env.chart(&[]).await?;
    for (rank, name) in ROLES.into_iter().enumerate() {
        let suffix = format!(".tkms-{name}");
        let role = documents.iter().find(|one| {
            let called = one["metadata"]["name"].as_str().unwrap_or_default();
            one["kind"] == "ClusterRole" && called.ends_with(&suffix)
        });
        let labels = role.context(name)?["metadata"]["labels"].clone();
        let to: BTreeSet<&str> = ROLES
            .into_iter()
            .filter(|to| labels[format!("rbac.authorization.k8s.io/aggregate-to-{to}")] == "true")
            .collect();
        ensure!(
            to == ROLES[rank..].iter().copied().collect(),
            "{name}: {to:?}"
        );
    }
    Ok(())
}

/// What workloads need is bound to them by whoever owns their namespace: nobody has it before.
#[tokio::test]
async fn sessions_and_data_keys_are_bound_by_people() -> Result<()> {
    let env = Env::new("workloads").await?;
    for (role, datakey) in [("session", "no"), ("datakey", "yes")] {
        let kubeconfig = person(&env, role, &[role]).await?;
        let uses = [
            ("--subresource=session", "yes"),
            ("--subresource=datakey", datakey),
            ("--subresource=migrate", "no"),
        ];
        for (sub, expected) in uses {
            let args = ["auth", "can-i", "create", "tenantkmses.tenantkms.dev", sub];
            let args = [&args[..], &["--namespace", &env.namespace]].concat();
            eventually(expected, SOON, async || {
                let answer = env.control.kubectl_as(&kubeconfig, &args).await?;
                Ok(answer.stdout.trim() == expected)
            })
            .await
            .with_context(|| format!("{role}: {sub}: {expected}"))?;
        }
    }
    let documents = env.chart(&[]).await?;
    for role in ["session", "datakey"] {
        let suffix = format!(".tkms-{role}");
        let named = |name: &serde_json::Value| name.as_str().is_some_and(|n| n.ends_with(&suffix));
        ensure!(documents.iter().all(|one| !named(&one["roleRef"]["name"])));
        let role = documents.iter().find(|one| named(&one["metadata"]["name"]));
        let labels = role.context("the role")?["metadata"]["labels"].to_string();
        ensure!(!labels.contains("aggregate-to"), "{labels}");
    }
    Ok(())
}

/// Every right that this person has there, as the API server lists them.
async fn rights(env: &Env, kubeconfig: &Path, namespace: &str) -> Result<BTreeSet<String>> {
    let args = ["auth", "can-i", "--list", "--namespace", namespace];
    let listed = env.control.kubectl_as(kubeconfig, &args).await?.success()?;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(listed.lines().skip(1).map(words).collect())
}

/// A workload that is compromised can call the agent API, and nothing besides.
#[tokio::test]
async fn a_workloads_role_gives_nothing_else() -> Result<()> {
    let env = Env::new("nothing-else").await?;
    let anybody = person(&env, "anybody", &[]).await?;
    for (role, given) in [
        ("session", &["session"][..]),
        ("datakey", &["datakey", "session"]),
    ] {
        let workload = person(&env, role, &[role]).await?;
        let expected: BTreeSet<String> = given
            .iter()
            .map(|sub| format!("tenantkmses.tenantkms.dev/{sub} [] [] [create]"))
            .collect();
        eventually("that alone", SOON, async || {
            let has = rights(&env, &workload, &env.namespace).await?;
            let usual = rights(&env, &anybody, &env.namespace).await?;
            ensure!(usual.is_subset(&has), "{usual:?} but {has:?}");
            let more: BTreeSet<_> = has.difference(&usual).cloned().collect();
            ensure!(more.is_subset(&expected), "{role}: {more:?}");
            Ok(more == expected)
        })
        .await?;
        for elsewhere in [&env.records_namespace, &env.operator_namespace] {
            let has = rights(&env, &workload, elsewhere).await?;
            ensure!(has == rights(&env, &anybody, elsewhere).await?, "{has:?}");
        }
    }
    Ok(())
}

/// What the chart's Roles for workloads are worth at the agent API.
#[tokio::test]
async fn the_agent_api_goes_by_the_charts_roles() -> Result<()> {
    let world = World::new("chart-roles").await?;
    let env = &world.env;
    let operator = env.spawn(env.agent_options()).await?;
    let agent = env.agent(&operator).await?;
    world.active("").await?;
    for (role, data_key) in [("session", "forbidden"), ("datakey", "")] {
        person(env, role, &[role]).await?;
        let app = Workload {
            account: role.to_owned(),
            token: env.token(role, None).await?,
            tenant: format!("{}/acme", env.namespace),
        };
        // A refusal is remembered for 10 s.
        eventually("the Role is in force", SOON, async || {
            Ok(app.session(&agent).await?.is_ok())
        })
        .await?;
        let session = app.begin(&agent).await?;
        app.seal(&agent, &session, "a record").await?;
        let any = json!({});
        let asked = agent.call("data-key", &app.token, &session, &any);
        let answer = asked.await?;
        ensure!(answer.error() == data_key, "{role}: {answer:?}");
    }
    Ok(())
}
