//! What AKS does to pods with workload identity, by the API server's own means: the chart's label
//! asks for it, and the client id comes from the chart's annotation. It must never help a pod that
//! does not ask.

use anyhow::Result;
use harness::node::Cluster;
use serde_json::json;

const NAME: &str = "azure-workload-identity";
const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";

/// As the documentation of the webhook has it: a projected token and four variables
/// (<https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>).
const PATCH: &str = r#"[
  JSONPatch{op: "add", path: "/spec/volumes/-", value: Object.spec.volumes{
    name: "azure-identity-token",
    projected: Object.spec.volumes.projected{sources: [Object.spec.volumes.projected.sources{
      serviceAccountToken: Object.spec.volumes.projected.sources.serviceAccountToken{
        path: "azure-identity-token", audience: "api://AzureADTokenExchange", expirationSeconds: 3600
      }
    }]}
  }},
  JSONPatch{op: "add", path: "/spec/containers/0/volumeMounts/-",
    value: Object.spec.containers.volumeMounts{
      name: "azure-identity-token", mountPath: "/var/run/secrets/azure/tokens", readOnly: true
  }}
] + {
  "AZURE_CLIENT_ID": string(params.metadata.annotations["azure.workload.identity/client-id"]),
  "AZURE_TENANT_ID": "DIRECTORY",
  "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
  "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"
}.transformList(name, value, JSONPatch{op: "add", path: "/spec/containers/0/env/-",
  value: Object.spec.containers.env{name: name, value: value}
})"#;

/// Puts it in place; it is in force some moments later.
pub async fn install(cluster: &Cluster) -> Result<()> {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "paramKind": { "apiVersion": "v1", "kind": "ServiceAccount" },
            "matchConstraints": {
                "objectSelector": { "matchLabels": { "azure.workload.identity/use": "true" } },
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["pods"],
                }],
            },
            "mutations": [{
                "patchType": "JSONPatch",
                "jsonPatch": { "expression": PATCH.replace("DIRECTORY", DIRECTORY) },
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": NAME },
        "spec": {
            "policyName": NAME,
            "paramRef": { "name": cluster.account(), "parameterNotFoundAction": "Deny" },
        },
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [policy, binding] });
    let apply = ["apply", "--server-side", "-f", "-"];
    let list = list.to_string();
    let said = cluster.env.control.kubectl_stdin(&apply, &list).await?;
    said.success().map(drop)
}
