//! What the chart lets the operator do: what is documented, nothing that it does not use, and no
//! rule that it could do without.

mod agent;
mod lent;
mod people;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use harness::{Env, Operator};
use serde_json::{Value, json};

use crate::seen::{calls, eventually, patch};
use crate::support::{SOON, World, manifest};

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

/// The operator's own rules as the chart renders them: the Role and the place of the rule in it.
async fn rules(env: &Env) -> Result<Vec<(Value, usize)>> {
    let documents = env.chart(&[&lent::value(env), agent::OFF]).await?;
    let bound: BTreeSet<String> = documents
        .iter()
        .filter(|one| one.get("roleRef").is_some())
        .map(|one| one["roleRef"]["name"].to_string())
        .collect();
    let roles = documents.into_iter().filter(|one| {
        one.get("rules").is_some() && bound.contains(&one["metadata"]["name"].to_string())
    });
    let mut found = Vec::new();
    for role in roles {
        let count = role["rules"].as_array().map_or(0, Vec::len);
        found.extend((0..count).map(|index| (role.clone(), index)));
    }
    Ok(found)
}

/// Whether a tenant is proved, recorded and told about by the one who holds the Lease.
async fn complete(env: &Env) -> Result<bool> {
    let get = async |namespace: &str, what: &str| {
        let args = ["get", what, "--namespace", namespace, "-o", "json"];
        let list = env.control.kubectl(&args).await?.success()?;
        anyhow::Ok(serde_json::from_str::<Value>(&list)?["items"].clone())
    };
    let proved = env.tenant("acme").await?["status"]["phase"] == "Active";
    let secrets = get(&env.records_namespace, "secrets").await?;
    let recorded = secrets.as_array();
    Ok(proved
        && get(&env.records_namespace, "leases").await?[0]["spec"]["holderIdentity"].is_string()
        && recorded.is_some_and(|all| all.iter().any(|one| one["type"] == "tenantkms.dev/record"))
        && get(&env.namespace, "events.events.k8s.io").await?[0]["reason"] == "Verified")
}

/// An operator that need not become ready.
async fn started(env: &Env) -> Result<Operator> {
    let mut options = env.operator_options();
    options.ready_within = None;
    env.spawn(options).await
}

/// What the API server answered the operator: verb, resource with subresource, and code.
fn asked(env: &Env) -> Result<BTreeSet<(String, String, u64)>> {
    let user = env.operator_user();
    let log = std::fs::read_to_string(env.control.audit_log())?;
    let mut asked = BTreeSet::new();
    for line in log.lines().filter(|line| line.contains(&user)) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue; // in the writing
        };
        if event["user"]["username"] != user.as_str() {
            continue;
        }
        let part = |name: &str| event["objectRef"][name].as_str().unwrap_or_default();
        let resource = match part("subresource") {
            "" => part("resource").to_owned(),
            sub => format!("{}/{sub}", part("resource")),
        };
        let verb = event["verb"].as_str().unwrap_or_default().to_owned();
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        asked.insert((verb, resource, code));
    }
    Ok(asked)
}

#[tokio::test]
async fn without_any_one_rule_the_work_is_not_done() -> Result<()> {
    let whole = World::new("every-rule").await?;
    whole.env.apply(&manifest("acme", "")).await?.success()?;
    let operator = started(&whole.env).await?;
    eventually("with every rule the work is done", SOON, async || {
        complete(&whole.env).await
    })
    .await?;
    for kind in lent::KINDS {
        lent::lend(&whole).await?;
        whole.env.upgrade(&[&lent::value(&whole.env)]).await?;
        whole.env.apply(&lent::manifest(kind)).await?.success()?;
        let verified = Some("Verified");
        whole
            .env
            .wait_condition("acme", "Ready", "True", verified, SOON)
            .await
            .context(kind)?;
    }
    operator.terminate().await?;

    let count = rules(&whole.env).await?.len();
    ensure!(count >= 9, "{count} rules");
    stream::iter(0..count)
        .map(without)
        .buffer_unordered(3)
        .try_collect::<()>()
        .await
}

/// Takes the rule away, sees the operator ask for it in vain, and the work undone.
async fn without(number: usize) -> Result<()> {
    let world = World::new(&format!("no-rule-{number}")).await?;
    let env = &world.env;
    lent::lend(&world).await?;
    env.upgrade(&[&lent::value(env)]).await?;
    let (mut role, index) = rules(env).await?.swap_remove(number);
    let taken = role["rules"]
        .as_array_mut()
        .context("a Role with rules")?
        .remove(index);
    let what = format!("without {taken}");
    let args = ["replace", "-f", "-"];
    env.control
        .kubectl_stdin(&args, &role.to_string())
        .await?
        .success()?;
    let resource = taken["resources"][0].as_str().unwrap_or_default();
    let verb = taken["verbs"][0].as_str().unwrap_or_default();
    // Of what a tenant lends, or of the records.
    let lent = taken["resourceNames"][0].as_str();
    let place = match resource {
        _ if lent.is_some() => 'T',
        "secrets" | "leases" => 'R',
        "namespaces" => '-',
        _ => 'T',
    };
    let question = match resource.split_once('/') {
        Some((kind, sub)) if lent.is_some() => {
            format!("{kind}/{} --subresource={sub}", lent.unwrap_or_default())
        }
        None if lent.is_some() => format!("{resource}/{}", lent.unwrap_or_default()),
        Some((kind, sub)) => format!("{kind}.tenantkms.dev --subresource={sub}"),
        None if resource == "events" => "events.events.k8s.io".to_owned(),
        None if resource == "namespaces" => format!("namespaces/{}", env.namespace),
        None => resource.to_owned(),
    };
    eventually("the rule is gone", SOON, async || {
        Ok(!may(env, verb, &question, place).await?)
    })
    .await
    .with_context(|| what.clone())?;

    let yaml = if lent.is_some() {
        lent::manifest(resource)
    } else {
        manifest("acme", "")
    };
    env.apply(&yaml).await?.success()?;
    let _operator = started(env).await?;
    eventually("the operator asks for it", SOON, async || {
        Ok(asked(env)?
            .iter()
            .any(|(_, asked, code)| asked == resource && *code == 403))
    })
    .await
    .with_context(|| what.clone())?;
    crate::seen::throughout(Duration::from_secs(4), async || {
        ensure!(!complete(env).await?, "all is done {what}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_verb_is_used() -> Result<()> {
    let world = World::new("verbs").await?;
    let env = &world.env;
    lent::lend(&world).await?;
    env.upgrade(&[&lent::value(env)]).await?;
    let _operator = world.operator().await?;
    for kind in lent::KINDS {
        env.apply(&lent::manifest(kind)).await?.success()?;
        env.wait_condition("acme", "Ready", "True", Some("Verified"), 2 * SOON)
            .await?;
    }
    world.active("{ interval: 5s, proofTTL: 1m }").await?;
    env.wait_condition("acme", "ConfigAccepted", "True", Some("Verified"), SOON)
        .await?;
    // The same Event twice is counted in one.
    for request in 1..=2 {
        world.key.disable();
        let sealed = Some("KeyDisabled");
        env.wait_condition("acme", "Sealed", "True", sealed, SOON)
            .await?;
        world.key.enable();
        let ask = json!({ "metadata": { "annotations": {
            "tenantkms.dev/unseal-requested-at": request.to_string(),
        } } });
        patch(env, "acme", false, "merge", &ask.to_string()).await?;
        let verified = Some("Verified");
        env.wait_condition("acme", "Active", "True", verified, 2 * SOON)
            .await?;
    }
    ensure!(calls(env).wraps > 0);

    let mut granted = BTreeSet::new();
    for (role, index) in rules(env).await? {
        let rule = &role["rules"][index];
        let words = |field: &str| -> Vec<String> {
            let all = rule[field].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        for resource in words("resources") {
            granted.extend(
                words("verbs")
                    .into_iter()
                    .map(|verb| (verb, resource.clone())),
            );
        }
    }
    // An object that cannot be read is fetched again without its type: malformed.rs.
    ensure!(granted.remove(&("get".to_owned(), "tenantkmses".to_owned())));
    eventually("every verb is used", SOON, async || {
        let used: BTreeSet<_> = asked(env)?
            .into_iter()
            .filter(|(.., code)| *code != 403)
            .map(|(verb, resource, _)| (verb, resource))
            .collect();
        Ok(granted.is_subset(&used))
    })
    .await
    .with_context(|| format!("granted: {granted:?}\nasked: {:?}", asked(env)))
}
