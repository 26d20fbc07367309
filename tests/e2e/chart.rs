//! The chart: what it renders is what the API server takes, with each optional part on and off,
//! and a wrong value is refused in words.

use anyhow::Result;
use harness::{ControlPlane, Output, repository};

async fn helm(control: &ControlPlane, verb: &[&str], sets: &[&str]) -> Result<Output> {
    let chart = repository().join("charts/tenant-kms-operator");
    let chart = chart.display().to_string();
    let mut args = verb.to_vec();
    args.push(&chart);
    let sets: Vec<String> = sets.iter().map(|set| format!("--set-json={set}")).collect();
    args.extend(sets.iter().map(String::as_str));
    control.helm(&args).await
}

const EVERYTHING: [&str; 11] = [
    r#"watchNamespaces=["default"]"#,
    r#"clientSecrets=[{"name":"AZURE_KC_CLIENT_SECRET","secretName":"acme","key":"secret"}]"#,
    r#"proxy={"https":"http://proxy.example:3128","http":"","noProxy":".svc"}"#,
    r#"caBundle={"configMapName":"company-ca","key":"ca.crt"}"#,
    r#"image={"digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
    r#"imagePullSecrets=[{"name":"registry"}]"#,
    r#"extraEnv=[{"name":"TENANT_KMS_LOG","value":"debug"}]"#,
    r#"tolerations=[{"key":"system","operator":"Exists"}]"#,
    r#"podAnnotations={"a":"b"}"#,
    r#"config={"apiVersion":"config.tenantkms.dev/v1alpha1","kind":"OperatorConfig","clientSecretVariables":[{"name":"AZURE_KC_CLIENT_SECRET","tenants":["tenants/acme"]}]}"#,
    "replicaCount=3",
];

#[tokio::test]
async fn the_api_server_takes_what_is_rendered() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let nothing = [
        "rbac={\"create\":false}",
        "crds={\"create\":false}",
        "records={\"create\":false,\"namespace\":\"default\"}",
        "serviceAccount={\"create\":false,\"name\":\"default\"}",
        "podDisruptionBudget={\"enabled\":false}",
    ];
    // A namespace that exists, for what is only tried and not stored.
    let exists = [r#"records={"create":false,"namespace":"default"}"#];
    let all = [&EVERYTHING[..], &exists].concat();
    for sets in [&exists[..], &all, &nothing] {
        let verb = ["template", "tkms", "--namespace", "default"];
        let rendered = helm(control, &verb, sets).await?.success()?;
        assert!(rendered.contains("kind: Deployment"));
        let args = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--force-conflicts",
            "-n",
            "default",
            "-f",
            "-",
        ];
        let tried = control.kubectl_stdin(&args, &rendered).await?;
        assert!(tried.status, "{sets:?}: {}", tried.stderr);
        let linted = helm(control, &["lint", "--strict"], sets).await?;
        assert!(
            linted.status,
            "{sets:?}: {}{}",
            linted.stdout, linted.stderr
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_value_is_refused_in_words() -> Result<()> {
    let control = ControlPlane::shared().await?;
    for (set, named) in [
        ("replicas=3", "replicas"),
        ("replicaCount=-1", "replicaCount"),
        (r#"installation="Bad Name""#, "installation"),
        (r#"image={"digest":"latest"}"#, "digest"),
        (r#"log={"format":"xml"}"#, "format"),
        (r#"watchNamespaces="tenants""#, "watchNamespaces"),
        (r#"clientSecrets=[{"name":"A"}]"#, "secretName"),
        (r#"config={"kind":"OperatorConfig","secret":"x"}"#, "secret"),
    ] {
        let refused = helm(control, &["template", "tkms"], &[set]).await?;
        assert!(!refused.status, "{set} was accepted");
        assert!(refused.stderr.contains(named), "{set}: {}", refused.stderr);
    }
    Ok(())
}
