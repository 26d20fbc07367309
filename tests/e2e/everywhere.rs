//! The chart's default: the operator serves every namespace, with the rights of a `ClusterRole` and
//! without a list of namespaces.

use anyhow::{Result, ensure};
use harness::Env;
use serde_json::{Value, json};

use crate::lifecycle::ACTIVE;
use crate::seen::{self, eventually};
use crate::support::{SOON, World, manifest, policy};

#[tokio::test]
async fn the_operator_serves_every_namespace() -> Result<()> {
    let world = World::of(Env::everywhere("everywhere").await?);
    let env = &world.env;
    let later = format!("{}-later", env.namespace);
    let both = policy(&env.namespace).replace("/*'", &format!("/*', '{later}/*'"));
    env.write_config(&both);
    let _operator = world.operator().await?;
    let often = "{ interval: 5s, proofTTL: 1m }";
    world.active(often).await?;
    // Neither a list nor a Role of this namespace lets it in.
    let roles = env.kubectl(&["get", "roles", "-o", "name"]).await?;
    ensure!(roles.stdout.is_empty(), "{}", roles.stdout);

    // A namespace that nobody had thought of when the chart was installed.
    let control = &env.control;
    control
        .kubectl(&["create", "namespace", &later])
        .await?
        .success()?;
    let key = world.vault.create_key("another-key");
    let mut other: Value = serde_yaml_ng::from_str(&manifest("acme", often))?;
    other["metadata"]["namespace"] = json!(later);
    other["spec"]["kmsKeyRef"] = json!(key.url());
    let apply = ["apply", "--server-side", "-f", "-"];
    control
        .kubectl_stdin(&apply, &other.to_string())
        .await?
        .success()?;
    let get = ["get", "tkms", "acme", "--namespace", &later, "-o", "json"];
    let other = async || -> Result<Value> {
        Ok(serde_json::from_str(
            &control.kubectl(&get).await?.success()?,
        )?)
    };
    eventually("the other is Active", SOON, async || {
        Ok(seen::row(&other().await?) == ACTIVE)
    })
    .await?;

    world.vault.revoke(world.app.principal());
    env.wait_condition("acme", "Sealed", "True", Some("AccessDenied"), SOON)
        .await?;
    eventually("the other is sealed", SOON, async || {
        Ok(seen::reason(&other().await?, "Sealed") == "AccessDenied")
    })
    .await
}
