//! Alerts and dashboard ask for metrics that there are.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use tenant_kms::server::agent::error::Kind;

use super::agent::rendered;

const ON: &str = r#"dashboards={"enabled":true}"#;
const RULES: &str = r#"prometheusRule={"enabled":true}"#;

/// The names of metrics in a query; of a histogram, its own.
fn metrics(query: &str) -> BTreeSet<&str> {
    let names = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = names.filter(|name| name.starts_with("tenantkms_"));
    names
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name))
        .collect()
}

fn documented(queries: &[&str]) -> Result<()> {
    let page = include_str!("../../../docs/metrics.md");
    for query in queries {
        let metrics = metrics(query);
        ensure!(!metrics.is_empty(), "{query} asks for nothing");
        for name in metrics {
            let row = format!("| `{name}` |");
            ensure!(page.contains(&row), "{name} is not in docs/metrics.md");
        }
    }
    Ok(())
}

async fn dashboard() -> Result<(Value, Value)> {
    let map = rendered(&["dashboard"], &[ON]).await?.remove(0);
    let json = map["data"]["tenant-kms-operator.json"].as_str();
    let dashboard = serde_json::from_str(json.context("no dashboard")?)?;
    Ok((map, dashboard))
}

#[tokio::test]
async fn every_panel_shows_a_metric_that_there_is() -> Result<()> {
    let (map, dashboard) = dashboard().await?;
    ensure!(map["metadata"]["labels"]["grafana_dashboard"] == "1");
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in panels {
        ensure!(ids.insert(panel["id"].as_u64()), "an id twice: {panel}");
        let targets = panel["targets"].as_array().into_iter().flatten();
        let queries: Vec<&str> = targets.filter_map(|one| one["expr"].as_str()).collect();
        ensure!(!queries.is_empty(), "{panel}");
        documented(&queries)?;
        for query in &queries {
            let chosen = query.matches("tenantkms_").count();
            let jobs = query.matches(r#"job=~"$job""#).count();
            ensure!(chosen == jobs, "of all installations: {query}");
            let (open, close) = (query.matches('(').count(), query.matches(')').count());
            ensure!(open == close, "{query}");
        }
        let place = |name: &str| panel["gridPos"][name].as_u64().context("a place");
        for x in place("x")?..place("x")? + place("w")? {
            for y in place("y")?..place("y")? + place("h")? {
                ensure!(x < 24 && places.insert((x, y)), "over another: {panel}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_alert_asks_for_a_metric_that_there_is() -> Result<()> {
    let names = async |sets: &[&str]| -> Result<Vec<String>> {
        let rule = rendered(&["monitoring"], sets).await?.remove(0);
        let rules = rule["spec"]["groups"][0]["rules"].as_array().cloned();
        let rules = rules.context("no rules")?;
        let queries: Vec<&str> = rules
            .iter()
            .filter_map(|one| one["expr"].as_str())
            .collect();
        documented(&queries)?;
        ensure!(queries.len() == rules.len());
        for rule in &rules {
            ensure!(rule["annotations"]["summary"].is_string(), "{rule}");
        }
        let name = |one: &Value| one["alert"].as_str().unwrap_or_default().to_owned();
        Ok(rules.iter().map(name).collect())
    };
    let all = names(&[RULES]).await?;
    ensure!(all.len() == 6, "{all:?}");
    let rest = names(&[RULES, r#"agent={"enabled":false}"#]).await?;
    ensure!(json!(rest) == json!(all[..3]), "{rest:?}");
    Ok(())
}

/// The share is that of calls which could have worked: no flood of refused ones hides it.
#[tokio::test]
async fn failing_calls_are_compared_with_those_that_work() -> Result<()> {
    let rule = rendered(&["monitoring"], &[RULES]).await?.remove(0);
    let rules = rule["spec"]["groups"][0]["rules"].as_array().into_iter();
    let mut rules = rules.flatten();
    let failing = rules.find(|one| one["alert"] == "TenantKmsAgentFailing");
    let query = failing.and_then(|one| one["expr"].as_str());
    let query = query.context("no such alert")?;
    let asked = query.split("outcome=~\"").skip(1);
    let asked: Vec<Vec<&str>> = asked
        .filter_map(|rest| Some(rest.split_once('"')?.0.split('|').collect()))
        .collect();
    let ours = Kind::ALL.into_iter().filter(|kind| kind.status() == 503);
    let ours = ours
        .map(Kind::name)
        .filter(|name| !name.starts_with("tenant_"));
    let failed: BTreeSet<&str> = ours.collect();
    let sets: Vec<BTreeSet<&str>> = asked.into_iter().map(BTreeSet::from_iter).collect();
    let all = failed.iter().copied().chain(["ok"]).collect();
    ensure!(sets == [failed.clone(), all], "{query}");
    Ok(())
}
