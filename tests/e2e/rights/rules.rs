//! Without any one of the chart's rules the operator's work is not done, and every verb of them is
//! used: by the controller, for what tenants lend, and for the agent API.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use harness::{Env, Operator};
use serde_json::{Value, json};

use super::agent::{self, User};
use super::{lent, may};
use crate::seen::{calls, eventually, patch};
use crate::support::{SOON, World, manifest};

/// The operator's own rules as the chart renders them: the Role and the place of the rule in it.
async fn rules(env: &Env) -> Result<Vec<(Value, usize)>> {
    let documents = env.chart(&[&lent::value(env)]).await?;
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

/// Whether a tenant is proved, recorded and told about by the one who holds the Lease, and used.
async fn complete(env: &Env, operator: &Operator, user: &User) -> Result<bool> {
    let get = async |namespace: &str, what: &str| {
        let args = ["get", what, "--namespace", namespace, "-o", "json"];
        let list = env.control.kubectl(&args).await?.success()?;
        anyhow::Ok(serde_json::from_str::<Value>(&list)?["items"].clone())
    };
    let proved = env.tenant("acme").await?["status"]["phase"] == "Active";
    let secrets = get(&env.records_namespace, "secrets").await?;
    let any = |list: &Value, field: &str, wanted: &str| {
        let list = list.as_array();
        list.is_some_and(|all| all.iter().any(|one| one[field] == wanted))
    };
    let events = get(&env.namespace, "events.events.k8s.io").await?;
    Ok(proved
        && get(&env.records_namespace, "leases").await?[0]["spec"]["holderIdentity"].is_string()
        && any(&secrets, "type", "tenantkms.dev/record")
        && any(&events, "reason", "Verified")
        && user.served(env, operator).await?)
}

/// An operator that need not become ready.
async fn started(env: &Env) -> Result<Operator> {
    env.spawn(env.agent_options().without_waiting()).await
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
    let user = User::new(&whole.env).await?;
    let operator = started(&whole.env).await?;
    eventually("with every rule the work is done", SOON, async || {
        complete(&whole.env, &operator, &user).await
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
    ensure!(count >= 13, "{count} rules");
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
    let text = |field: &str| taken[field][0].as_str();
    let resource = text("resources").unwrap_or_default();
    let verb = text("verbs").unwrap_or_default();
    let named = text("resourceNames");
    // Of the release, the cluster, what a tenant lends, or the records.
    let place = match resource {
        "configmaps" => 'S',
        "tokenreviews" | "subjectaccessreviews" => '-',
        _ if named.is_some() => 'T',
        "secrets" | "leases" => 'R',
        _ => 'T',
    };
    let question = question(resource, text("apiGroups"), named);
    eventually("the rule is gone", SOON, async || {
        Ok(!may(env, verb, &question, place).await?)
    })
    .await
    .with_context(|| what.clone())?;

    let yaml = if named.is_some() && lent::KINDS.contains(&resource) {
        lent::manifest(resource)
    } else {
        manifest("acme", "")
    };
    env.apply(&yaml).await?.success()?;
    let user = User::new(env).await?;
    let operator = started(env).await?;
    let verbs = taken["verbs"].as_array().context("verbs")?;
    eventually("the operator asks for it", SOON, async || {
        ensure!(
            !complete(env, &operator, &user).await?,
            "all is done {what}"
        );
        Ok(asked(env)?.iter().any(|(verb, asked, code)| {
            verbs.contains(&json!(verb)) && asked == resource && *code == 403
        }))
    })
    .await
    .with_context(|| what.clone())?;
    crate::seen::throughout(Duration::from_secs(4), async || {
        ensure!(
            !complete(env, &operator, &user).await?,
            "all is done {what}"
        );
        Ok(())
    })
    .await
}

/// As `kubectl auth can-i` wants it: `KIND.GROUP/NAME --subresource=SUB`.
fn question(resource: &str, group: Option<&str>, name: Option<&str>) -> String {
    let (kind, sub) = match resource.split_once('/') {
        Some((kind, sub)) => (kind, format!(" --subresource={sub}")),
        None => (resource, String::new()),
    };
    let group = group.filter(|group| !group.is_empty());
    let group = group.map_or_else(String::new, |group| format!(".{group}"));
    let name = name.map_or_else(String::new, |name| format!("/{name}"));
    format!("{kind}{group}{name}{sub}")
}

#[tokio::test]
async fn every_verb_is_used() -> Result<()> {
    let world = World::new("verbs").await?;
    let env = &world.env;
    lent::lend(&world).await?;
    env.upgrade(&[&lent::value(env)]).await?;
    let operator = env.spawn(env.agent_options()).await?;
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
    let _operator = agent::used_and_put_right(env, operator).await?;

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
