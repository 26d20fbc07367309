//! The chart's own RBAC and admission policies, so that the operator under test
//! has exactly the rights that an installation gives it. Nothing that would
//! need a node is applied.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ControlPlane, repository};

pub(crate) const SERVICE_ACCOUNT: &str = "tenant-kms-operator";

/// What is applied of a rendered chart.
const KINDS: [&str; 8] = [
    "Namespace",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

const NAMESPACED: [&str; 3] = ["ServiceAccount", "Role", "RoleBinding"];

/// The names one installation is made of.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub records_namespace: &'a str,
    /// The one namespace it serves; as the chart has it by default, all of them.
    pub watch_namespace: Option<&'a str>,
}

/// Renders the chart for an installation, with more values such as
/// `replicaCount=3` (JSON), and applies its rights.
pub(crate) async fn apply(
    control: &ControlPlane,
    installation: &Installation<'_>,
    more: &[&str],
) -> Result<()> {
    let documents = render(control, installation, more).await?;
    if documents.is_empty() {
        bail!("the chart renders no ServiceAccount and no rights");
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": documents }).to_string();
    let args = ["apply", "--server-side", "-f", "-"];
    let applied = control.kubectl_stdin(&args, &list).await?.success();
    applied.context("apply the chart's rights").map(drop)
}

/// What [`apply`] applies.
pub(crate) async fn render(
    control: &ControlPlane,
    installation: &Installation<'_>,
    more: &[&str],
) -> Result<Vec<Value>> {
    let values = json!({
        "watchNamespaces": Vec::from_iter(installation.watch_namespace),
        "records": { "namespace": installation.records_namespace, "create": true },
        "installation": installation.name,
        "crds": { "create": false },
        "serviceAccount": { "name": SERVICE_ACCOUNT },
    });
    let mut values: Vec<String> = values
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("--set-json={key}={value}"))
        .collect();
    values.extend(more.iter().map(|value| format!("--set-json={value}")));
    let chart = repository()
        .join("charts/tenant-kms-operator")
        .display()
        .to_string();
    let mut args = vec![
        "template",
        "tkms",
        &chart,
        "--namespace",
        installation.namespace,
    ];
    args.extend(values.iter().map(String::as_str));
    let rendered = control
        .helm(&args)
        .await?
        .success()
        .context("render the chart")?;

    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(&rendered) {
        let mut document = Value::deserialize(document).context("the rendered chart")?;
        let kind = document["kind"].as_str().unwrap_or_default();
        if !KINDS.contains(&kind) {
            continue;
        }
        // As `helm install --namespace` does; kubectl's option would refuse
        // the documents that name another one.
        if NAMESPACED.contains(&kind) && document.pointer("/metadata/namespace").is_none() {
            document["metadata"]["namespace"] = json!(installation.namespace);
        }
        documents.push(document);
    }
    Ok(documents)
}
