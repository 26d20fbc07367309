//! Wrong values, refused in words before anything is rendered.

use anyhow::{Result, ensure};
use harness::ControlPlane;

use super::helm;

/// Values that are refused, and what the refusal names.
const WRONG: &[(&str, &str)] = &[
    ("replicas=3", "properties 'replicas' not allowed"),
    ("replicaCount=-1", "at '/replicaCount'"),
    (r#"installation="Bad Name""#, "at '/installation'"),
    // 33 characters, where the operator takes 32.
    (
        r#"installation="abcdefghijklmnopqrstuvwxyz0123456""#,
        "at '/installation'",
    ),
    (r#"image={"digest":"latest"}"#, "at '/image/digest'"),
    (r#"log={"format":"xml"}"#, "at '/log/format'"),
    (r#"watchNamespaces="tenants""#, "at '/watchNamespaces'"),
    (
        r#"clientSecrets=[{"name":"A"}]"#,
        "at '/clientSecrets/0': missing",
    ),
    (
        r#"clientSecrets=[{"name":"A","secretName":"a","key":"a"}]"#,
        "A needs tenants or namespaces",
    ),
    (
        r#"clientSecrets=[{"name":"A","secretName":"a","key":"a","tenants":["acme"]}]"#,
        "at '/clientSecrets/0/tenants/0'",
    ),
    (TWICE, "AZURE is also in config.clientSecretVariables"),
    (
        r#"config={"kind":"OperatorConfig","secret":"x"}"#,
        "at '/config': additional properties 'secret'",
    ),
    (
        r#"config={"kind":"OperatorConfig","allowedEndpointSuffixes":["vault"]}"#,
        "at '/config/allowedEndpointSuffixes/0'",
    ),
    (
        r#"config={"apiVersion":"v1","kind":"OperatorConfig"}"#,
        "at '/config/apiVersion'",
    ),
    (
        r#"tenantCredentials=[{"secrets":["a"]}]"#,
        "missing property 'namespace'",
    ),
    (
        r#"tenantCredentials=[{"namespace":"a","secrets":["*"]}]"#,
        "at '/tenantCredentials/0/secrets/0'",
    ),
    (
        r#"tenantCredentials=[{"namespace":"a","secrets":[]}]"#,
        "a needs secrets or serviceAccounts",
    ),
    (
        r#"tenantCredentials=[{"namespace":"a","secrets":["x"]},{"namespace":"a","secrets":["y"]}]"#,
        "a is listed twice",
    ),
    (
        r#"workloadIdentity={"azure":{"clientId":"my-app"}}"#,
        "at '/workloadIdentity/azure/clientId'",
    ),
    (
        r#"workloadIdentity={"aws":{"roleArn":"tenant-kms"}}"#,
        "at '/workloadIdentity/aws/roleArn'",
    ),
    (
        r#"workloadIdentity={"gcp":{"serviceAccount":"kms@acme.example.com"}}"#,
        "at '/workloadIdentity/gcp/serviceAccount'",
    ),
    (
        r#"commonLabels={"app.kubernetes.io/instance":"x"}"#,
        "invalid propertyName 'app.kubernetes.io/instance'",
    ),
    (
        r#"records={"writers":{"users":["a' || true || '"]}}"#,
        "at '/records/writers/users/0'",
    ),
    (r#"extraArgs=["records-namespace=x"]"#, "at '/extraArgs/0'"),
    (
        r#"proxy={"https":"proxy.example:3128"}"#,
        "at '/proxy/https'",
    ),
    (
        r#"serviceMonitor={"interval":"often"}"#,
        "at '/serviceMonitor/interval'",
    ),
    (
        r#"localKek={"secretName":"Keks"}"#,
        "at '/localKek/secretName'",
    ),
    (r#"localKek={"path":"/keks"}"#, "at '/localKek'"),
    (
        r#"serviceAccount={"create":false}"#,
        "serviceAccount.name is required",
    ),
    (
        r#"flowSchema={"matchingPrecedence":0}"#,
        "at '/flowSchema/matchingPrecedence'",
    ),
];

#[tokio::test]
async fn a_wrong_value_is_refused_in_words() -> Result<()> {
    let control = ControlPlane::shared().await?;
    for (set, named) in WRONG {
        let sets: Vec<&str> = set.split('\n').collect();
        let refused = helm(control, &["template", "tkms"], &sets).await?;
        ensure!(!refused.status, "{set} was accepted");
        ensure!(refused.stderr.contains(named), "{set}: {}", refused.stderr);
    }
    Ok(())
}

const TWICE: &str = concat!(
    r#"clientSecrets=[{"name":"AZURE","secretName":"a","key":"a","tenants":["tenants/acme"]}]"#,
    "\n",
    r#"config={"clientSecretVariables":[{"name":"AZURE","tenants":["tenants/acme"]}]}"#
);
