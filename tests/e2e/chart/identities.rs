//! What the clouds look for at the operator's `ServiceAccount` and pods, by the exact names that they document.

use anyhow::{Result, ensure};
use harness::ControlPlane;
use serde_json::{Value, json};

use super::helm;

async fn rendered(control: &ControlPlane, template: &str, sets: &[&str]) -> Result<Value> {
    let verb = ["template", "tkms", "--show-only", template];
    let rendered = helm(control, &verb, sets).await?.success()?;
    Ok(serde_yaml_ng::from_str(&rendered)?)
}

#[tokio::test]
async fn each_clouds_annotation_has_its_exact_name() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let ids = ["11112222-3333", "99998888-7777"].map(|id| format!("{id}-4444-5555-666677778888"));
    let [client, directory] = &ids;
    let role = "arn:aws:iam::123456789012:role/tenant-kms";
    let account = "kms@acme.iam.gserviceaccount.com";
    let azure = json!({ "enabled": true, "clientId": client, "tenantId": directory });
    let (aws, gcp) = (
        json!({ "roleArn": role }),
        json!({ "serviceAccount": account }),
    );
    let rows = [
        (json!({}), Value::Null, Value::Null),
        (
            json!({ "azure": azure }),
            json!({
                "azure.workload.identity/client-id": client,
                "azure.workload.identity/tenant-id": directory,
            }),
            json!("true"),
        ),
        // A user-assigned identity of the cluster's own directory, without the webhook's label.
        (
            json!({ "azure": { "clientId": client } }),
            json!({ "azure.workload.identity/client-id": client }),
            Value::Null,
        ),
        (
            json!({ "aws": aws }),
            json!({ "eks.amazonaws.com/role-arn": role }),
            Value::Null,
        ),
        (
            json!({ "gcp": gcp }),
            json!({ "iam.gke.io/gcp-service-account": account }),
            Value::Null,
        ),
        (
            json!({ "azure": azure, "aws": aws, "gcp": gcp }),
            json!({
                "azure.workload.identity/client-id": client,
                "azure.workload.identity/tenant-id": directory,
                "eks.amazonaws.com/role-arn": role,
                "iam.gke.io/gcp-service-account": account,
            }),
            json!("true"),
        ),
    ];
    for (identity, annotations, label) in rows {
        let set = format!("workloadIdentity={identity}");
        let named = rendered(control, "templates/serviceaccount.yaml", &[&set]).await?;
        ensure!(
            named["metadata"]["annotations"] == annotations,
            "{set}: {named}"
        );
        let deployment = rendered(control, "templates/deployment.yaml", &[&set]).await?;
        for labelled in [&named, &deployment["spec"]["template"]] {
            let found = &labelled["metadata"]["labels"]["azure.workload.identity/use"];
            ensure!(*found == label, "{set}: {labelled}");
        }
    }
    Ok(())
}
