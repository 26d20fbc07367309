//! The agent API in the chart: its options are those that the operator takes, and its certificate is
//! for the names that the Service has.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::ControlPlane;
use serde::Deserialize;
use serde_json::{Value, json};
use tenant_kms::server::tls::{Options, Source};

use super::helm;

/// The documents of these templates.
pub async fn rendered(templates: &[&str], sets: &[&str]) -> Result<Vec<Value>> {
    let control = ControlPlane::shared().await?;
    let show = templates
        .iter()
        .map(|one| format!("--show-only=templates/{one}.yaml"));
    let show: Vec<String> = show.collect();
    let mut verb = vec!["template", "tkms", "--namespace", "kms"];
    verb.extend(show.iter().map(String::as_str));
    let text = helm(control, &verb, sets).await?.success()?;
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
    Ok(documents.collect::<Result<_, _>>()?)
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    tls: Options,
}

/// What the operator makes of the container's arguments.
fn source(container: &Value) -> Result<Source> {
    let args = container["args"].as_array().into_iter().flatten();
    let args = args.filter_map(Value::as_str);
    let args = args.filter(|arg| arg.starts_with("--tls-") || arg.starts_with("--ca-"));
    Ok(Line::try_parse_from(["x"].into_iter().chain(args))?
        .tls
        .source()?)
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

fn listens(container: &Value) -> bool {
    let args = container["args"].as_array().into_iter().flatten();
    args.filter_map(Value::as_str)
        .any(|arg| arg == "--listen=[::]:8443")
}

#[tokio::test]
async fn its_own_certificate_is_for_the_services_names() -> Result<()> {
    let sets = [r#"agent={"tls":{"caNamespaces":["tenants","kms"]}}"#];
    let templates = ["deployment", "agent-service", "rbac-agent"];
    let documents = rendered(&templates, &sets).await?;
    let of = |kind: &str| {
        documents
            .iter()
            .find(|one| one["kind"] == kind)
            .context("rendered")
    };
    let (service, container) = (of("Service")?, container(of("Deployment")?));
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let names = ["svc", "svc.cluster.local"].map(|end| format!("{name}.kms.{end}"));
    let names = [&names[..], &[format!("{name}.kms")]].concat();
    let namespaces = ["kms", "tenants"].map(String::from).to_vec();
    ensure!(source(container)? == Source::Own { names, namespaces });
    ensure!(listens(container));
    let ports =
        json!([{ "name": "https", "port": 443, "targetPort": "agent", "appProtocol": "https" }]);
    ensure!(service["spec"]["ports"] == ports);
    ensure!(container["ports"][1] == json!({ "name": "agent", "containerPort": 8443 }));
    let roles = documents.iter().filter(|one| one["kind"] == "Role");
    let places: Vec<_> = roles
        .map(|one| one["metadata"]["namespace"].clone())
        .collect();
    ensure!(places == ["kms", "tenants"], "{places:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_others_is_mounted_where_the_operator_looks() -> Result<()> {
    let given = r#"agent={"tls":{"secretName":"agent-tls"}}"#;
    let issued = r#"agent={"tls":{"certManager":{"enabled":true,"issuerRef":{"name":"ca"}}}}"#;
    for (set, secret) in [
        (given, "agent-tls"),
        (issued, "tkms-tenant-kms-operator-agent-tls"),
    ] {
        let documents = rendered(&["deployment", "rbac-agent"], &[set]).await?;
        ensure!(
            documents.iter().all(|one| one["kind"] != "Role"),
            "no CA, no ConfigMap"
        );
        let deployment = documents.iter().find(|one| one["kind"] == "Deployment");
        let deployment = deployment.context("a Deployment")?;
        let container = container(deployment);
        let Source::Files(paths) = source(container)? else {
            anyhow::bail!("not from files");
        };
        ensure!(listens(container) && paths.key.ends_with("tls.key"));
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let folder = paths
            .certificate
            .parent()
            .map(|at| at.display().to_string());
        let mount = mounts.clone().find(|one| one["name"] == "agent-tls");
        ensure!(mount.and_then(|one| one["mountPath"].as_str()) == folder.as_deref());
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array();
        let mut volumes = volumes.into_iter().flatten();
        ensure!(
            volumes
                .any(|one| one["secret"]["secretName"] == secret
                    && one["secret"]["optional"] == true),
            "{secret}, which stops no pod"
        );
    }
    let certificate = &rendered(&["agent-certificate"], &[issued]).await?[0];
    ensure!(certificate["spec"]["dnsNames"][0] == "tkms-tenant-kms-operator-agent.kms.svc");
    ensure!(certificate["spec"]["secretName"] == "tkms-tenant-kms-operator-agent-tls");
    Ok(())
}

#[tokio::test]
async fn without_it_nothing_of_it_is_there() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let off = [
        r#"agent={"enabled":false}"#,
        r#"networkPolicy={"enabled":true}"#,
    ];
    let text = helm(control, &["template", "tkms"], &off)
        .await?
        .success()?;
    for word in [
        "--listen",
        "--tls-",
        "--ca-namespaces",
        "tokenreviews",
        "configmaps",
        "name: agent",
        "port: agent",
        "preStop",
    ] {
        ensure!(!text.contains(word), "{word}");
    }
    Ok(())
}

#[tokio::test]
async fn pods_of_the_cluster_reach_it_unless_that_is_limited() -> Result<()> {
    let only = r#"[{"podSelector":{"matchLabels":{"kms":"yes"}}}]"#;
    let limited = format!(r#"networkPolicy={{"enabled":true,"agentFrom":{only}}}"#);
    for (set, from) in [
        (
            r#"networkPolicy={"enabled":true}"#,
            r#"[{"namespaceSelector":{}}]"#,
        ),
        (&*limited, only),
    ] {
        let policy = &rendered(&["networkpolicy"], &[set]).await?[0];
        let rules = policy["spec"]["ingress"].as_array().into_iter().flatten();
        let rule: Vec<_> = rules
            .filter(|one| one["ports"][0]["port"] == "agent")
            .collect();
        ensure!(rule.len() == 1 && rule[0]["from"] == serde_json::from_str::<Value>(from)?);
    }
    Ok(())
}

#[tokio::test]
async fn its_wrong_values_are_refused_in_words() -> Result<()> {
    let control = ControlPlane::shared().await?;
    for (set, named) in [
        (r#"agent={"port":80}"#, "at '/agent/port'"),
        (
            r#"agent={"port":8080}"#,
            "agent.port and metrics.port are the same",
        ),
        (r#"agent={"drainSeconds":-1}"#, "at '/agent/drainSeconds'"),
        (
            r#"agent={"drainSeconds":21}"#,
            "terminationGracePeriodSeconds is less than agent.drainSeconds",
        ),
        (r#"agent={"tls":{"cert":"x"}}"#, "at '/agent/tls'"),
        (
            r#"agent={"tls":{"caNamespaces":["A"]}}"#,
            "at '/agent/tls/caNamespaces/0'",
        ),
        (
            r#"agent={"tls":{"certManager":{"enabled":true}}}"#,
            "agent.tls.certManager.issuerRef.name is required",
        ),
    ] {
        let refused = helm(control, &["template", "tkms"], &[set]).await?;
        ensure!(
            !refused.status && refused.stderr.contains(named),
            "{set}: {}",
            refused.stderr
        );
    }
    Ok(())
}

/// The pod ends after every node has heard that it is no endpoint any more.
#[tokio::test]
async fn a_pod_that_is_to_end_serves_on_for_a_while() -> Result<()> {
    for (sets, expected) in [
        (&[][..], json!({ "preStop": { "sleep": { "seconds": 5 } } })),
        (
            &[r#"agent={"drainSeconds":20}"#],
            json!({ "preStop": { "sleep": { "seconds": 20 } } }),
        ),
        (&[r#"agent={"drainSeconds":0}"#], Value::Null),
    ] {
        let deployment = &rendered(&["deployment"], sets).await?[0];
        ensure!(container(deployment)["lifecycle"] == expected, "{sets:?}");
    }
    Ok(())
}

/// The guide, the example and the client's hint name the Service that the chart makes.
#[tokio::test]
async fn workloads_are_told_its_real_name() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let show = "--show-only=templates/agent-service.yaml";
    let release = ["template", "tenant-kms-operator", show];
    let verb = [&release[..], &["--namespace", "tenant-kms-system"]].concat();
    let service = helm(control, &verb, &[]).await?.success()?;
    let service: Value = serde_yaml_ng::from_str(&service)?;
    ensure!(service["spec"]["ports"][0]["port"] == 443);
    let name = service["metadata"]["name"].as_str().context("a name")?;
    let url = format!("https://{name}.tenant-kms-system.svc");
    for (file, text) in [
        (
            "workload.yaml",
            include_str!("../../../examples/workload.yaml"),
        ),
        (
            "use-from-your-workload.md",
            include_str!("../../../docs/use-from-your-workload.md"),
        ),
    ] {
        let mut named = text.match_indices("https://tenant-kms-operator").peekable();
        ensure!(named.peek().is_some(), "{file} names no URL");
        for (at, _) in named {
            let rest = &text[at..];
            let end = rest.find(['"', ' ', '\n']).unwrap_or(rest.len());
            ensure!(rest[..end] == url, "{file}: {}", &rest[..end]);
        }
    }
    Ok(())
}
