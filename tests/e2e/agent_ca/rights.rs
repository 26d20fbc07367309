//! What the CA needs: each rule of the chart's Role, or the commands of the message, in each namespace
//! for itself.

use anyhow::{Context, Result, ensure};
use harness::{Env, access};
use serde_json::Value;

use super::{Hands, Member, bundle, stored, with_rights};
use crate::seen::eventually;
use crate::support::SOON;

/// The chart's value.
pub fn value(namespaces: &[&str]) -> String {
    let list = serde_json::to_string(namespaces).unwrap_or_default();
    format!(r#"agent={{"tls":{{"caNamespaces":{list}}}}}"#)
}

async fn may(env: &Env, verb: &str, namespace: &str) -> Result<bool> {
    let user = format!("--as={}", env.operator_user());
    let what = match verb {
        "create" => "configmaps",
        _ => "configmaps/tenant-kms-ca",
    };
    let args = ["auth", "can-i", verb, what, "--namespace", namespace, &user];
    let answer = env.control.kubectl(&args).await?;
    Ok(answer.stdout.trim() == "yes")
}

/// The authorizer learns of a Role a moment later.
pub async fn in_force(env: &Env, namespace: &str, granted: bool) -> Result<()> {
    eventually("the authorizer knows", SOON, async || {
        Ok(may(env, "create", namespace).await? == granted
            && may(env, "update", namespace).await? == granted)
    })
    .await
}

#[tokio::test]
async fn one_namespaces_trouble_stops_no_other_and_the_message_mends_it() -> Result<()> {
    let env = Env::new("ca-trouble").await?;
    let own = &*env.operator_namespace; // the release's has its Role always
    env.upgrade(&["watchNamespaces=[]"]).await?; // it may see whether a namespace is there
    in_force(&env, own, true).await?;
    let absent = format!("{}-absent", env.namespace);
    let look = access(&absent, "get", "", "namespaces");
    env.until_may(&env.operator_user(), look, true).await?;
    let clock = Hands::new();
    let namespaces = [&*absent, &*env.namespace, own];
    let mut holder = Member::new(&env, &clock, true, &namespaces).await?;
    let told = holder.round().await.expect_err("two of three").to_string();
    ensure!(
        told.contains(&format!("kubectl create namespace '{absent}'")),
        "{told}"
    );
    let published = bundle(&env, own).await?;
    // Who cannot be told keeps the next CA waiting.
    ensure!(stored(&env).await?[0]["publishedAt"].is_null());

    let (_, command) = told.split_once("caNamespaces, or: ").context("a command")?;
    let command = command.split(';').next().unwrap_or_default();
    env.control.shell(command).await?.success()?;
    in_force(&env, &env.namespace, true).await?;
    let told = holder.round().await.expect_err("one of three").to_string();
    ensure!(!told.contains("Role"), "{told}");
    ensure!(bundle(&env, &env.namespace).await? == published);
    // In a namespace that is not there is nobody to be told.
    ensure!(stored(&env).await?[0]["publishedAt"].is_string());
    Ok(())
}

#[tokio::test]
async fn without_any_one_rule_it_is_not_published() -> Result<()> {
    for taken in 0..2 {
        let env = with_rights(&format!("ca-no-rule-{taken}")).await?;
        let documents = env.chart(&[&value(&[&env.namespace])]).await?;
        let mut role = documents
            .into_iter()
            .find(|one| is_its_role(one, &env.namespace))
            .context("a Role")?;
        let rules = role["rules"].as_array_mut().context("rules")?;
        ensure!(rules.len() == 2, "{rules:?}");
        let gone = rules.remove(taken);
        let args = ["replace", "-f", "-"];
        let role = role.to_string();
        env.control.kubectl_stdin(&args, &role).await?.success()?;
        let verb = gone["verbs"][0].as_str().unwrap_or_default().to_owned();
        eventually("the rule is gone", SOON, async || {
            Ok(!may(&env, &verb, &env.namespace).await?)
        })
        .await?;
        let clock = Hands::new();
        let mut holder = Member::new(&env, &clock, true, &[&env.namespace]).await?;
        let told = holder
            .round()
            .await
            .expect_err("a rule is missing")
            .to_string();
        ensure!(told.contains("a Role is missing"), "{gone}: {told}");
        ensure!(bundle(&env, &env.namespace).await.is_err());
    }
    Ok(())
}

fn is_its_role(one: &Value, namespace: &str) -> bool {
    let name = one["metadata"]["name"].as_str().unwrap_or_default();
    one["kind"] == "Role"
        && one["metadata"]["namespace"] == namespace
        && name.ends_with("-agent-ca")
}
