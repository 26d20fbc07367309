//! What the chart lets the operator do: what is documented and nothing that it does not use, and no
//! rule that it could do without: `rules`.

mod agent;
mod lent;
mod people;
mod rules;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use harness::Env;

use crate::seen::eventually;
use crate::support::SOON;

/// Verb, resource and where, and whether the operator may. T: a tenants' namespace, O: another
/// namespace, R: the records namespace, S: the operator's own, -: the cluster.
const ANSWERS: [(&str, &str, char, bool); 40] = [
    ("get", "tenantkmses.tenantkms.dev", 'T', true),
    ("list", "tenantkmses.tenantkms.dev", 'T', true),
    ("watch", "tenantkmses.tenantkms.dev", 'T', true),
    ("patch", "tenantkmses.tenantkms.dev/acme", 'T', true), // only its annotation: policies.rs
    ("create", "tenantkmses.tenantkms.dev", 'T', false),
    ("update", "tenantkmses.tenantkms.dev/acme", 'T', false),
    ("delete", "tenantkmses.tenantkms.dev/acme", 'T', false),
    (
        "patch",
        "tenantkmses.tenantkms.dev/acme --subresource=status",
        'T',
        true,
    ),
    (
        "update",
        "tenantkmses.tenantkms.dev/acme --subresource=status",
        'T',
        false,
    ),
    (
        "create",
        "tenantkmses.tenantkms.dev/acme --subresource=migrate",
        'T',
        false,
    ),
    (
        "create",
        "tenantkmses.tenantkms.dev/acme --subresource=session",
        'T',
        false,
    ),
    ("create", "events.events.k8s.io", 'T', true),
    ("patch", "events.events.k8s.io", 'T', true),
    ("list", "events.events.k8s.io", 'T', false),
    ("get", "secrets/acme-azure", 'T', true),
    ("get", "secrets/other", 'T', false),
    ("list", "secrets", 'T', false),
    ("watch", "secrets", 'T', false),
    ("update", "secrets/acme-azure", 'T', false),
    (
        "create",
        "serviceaccounts/acme-kms --subresource=token",
        'T',
        true,
    ),
    (
        "create",
        "serviceaccounts/other --subresource=token",
        'T',
        false,
    ),
    ("get", "serviceaccounts/acme-kms", 'T', true), // for its label
    ("get", "serviceaccounts/other", 'T', false),
    ("list", "serviceaccounts", 'T', false),
    ("get", "secrets/acme-azure", 'O', false),
    ("list", "secrets", '-', false),
    (
        "create",
        "serviceaccounts/acme-kms --subresource=token",
        'O',
        false,
    ),
    ("get", "secrets", 'R', true),
    ("list", "secrets", 'R', true),
    ("create", "secrets", 'R', true),
    ("update", "secrets", 'R', true),
    ("watch", "secrets", 'R', false),
    ("patch", "secrets", 'R', false),
    ("delete", "secrets", 'R', false),
    ("deletecollection", "secrets", 'R', false),
    ("update", "leases.coordination.k8s.io", 'R', true),
    ("delete", "leases.coordination.k8s.io", 'R', false),
    ("get", "secrets/acme-azure", 'S', false),
    (
        "create",
        "serviceaccounts/tenant-kms-operator --subresource=token",
        'S',
        false,
    ),
    ("list", "namespaces", '-', false),
];

/// What only serving every namespace allows.
const EVERYWHERE: [(&str, &str, char); 6] = [
    ("list", "tenantkmses.tenantkms.dev", 'O'),
    ("watch", "tenantkmses.tenantkms.dev", '-'),
    ("patch", "tenantkmses.tenantkms.dev/acme", 'O'),
    (
        "patch",
        "tenantkmses.tenantkms.dev/acme --subresource=status",
        'O',
    ),
    ("create", "events.events.k8s.io", 'O'),
    ("get", "namespaces/kube-public", '-'),
];

async fn may(env: &Env, verb: &str, resource: &str, place: char) -> Result<bool> {
    let user = format!("--as={}", env.operator_user());
    let namespace = match place {
        'T' => env.namespace.as_str(),
        'R' => env.records_namespace.as_str(),
        'S' => env.operator_namespace.as_str(),
        _ => "kube-public",
    };
    let mut args = vec!["auth", "can-i", verb];
    args.extend(resource.split(' '));
    args.push(&user);
    args.extend(match place {
        '-' => vec!["--all-namespaces"],
        _ => vec!["--namespace", namespace],
    });
    let answer = env.control.kubectl(&args).await?;
    match answer.stdout.trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => anyhow::bail!("{verb} {resource}: {other}{}", answer.stderr),
    }
}

#[tokio::test]
async fn the_operator_may_do_what_is_documented_and_no_more() -> Result<()> {
    let env = Env::new("can-i").await?;
    let lent = lent::value(&env);
    for (mode, everywhere) in [("", false), ("watchNamespaces=[]", true)] {
        let mut values = vec![lent.as_str()];
        values.extend((!mode.is_empty()).then_some(mode));
        env.upgrade(&values).await?;
        let all = ANSWERS.into_iter().chain(agent::ANSWERS).chain(
            EVERYWHERE
                .into_iter()
                .map(|(verb, resource, place)| (verb, resource, place, everywhere)),
        );
        let env = &env;
        stream::iter(all)
            .map(|(verb, resource, place, expected)| async move {
                let wanted = async || Ok(may(env, verb, resource, place).await? == expected);
                // The authorizer learns of a new Role a moment later.
                eventually("as documented", SOON, wanted)
                    .await
                    .with_context(|| format!("{verb} {resource} in {place}, {mode}: {expected}"))
            })
            .buffer_unordered(4)
            .try_collect::<()>()
            .await?;
    }
    Ok(())
}
