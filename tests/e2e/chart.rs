//! The chart: what it renders is what the API server takes, with each optional part on and off,
//! and a wrong value is refused in words.

mod agent;
mod identities;
mod monitoring;
mod wrong;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use harness::{ControlPlane, Output, repository};
use serde_json::{Value, json};

async fn helm(control: &ControlPlane, verb: &[&str], sets: &[&str]) -> Result<Output> {
    let chart = repository().join("charts/tenant-kms-operator");
    let chart = chart.display().to_string();
    let mut args = verb.to_vec();
    args.push(&chart);
    let sets: Vec<String> = sets.iter().map(|set| format!("--set-json={set}")).collect();
    args.extend(sets.iter().map(String::as_str));
    control.helm(&args).await
}

/// Each optional part, switched on.
const PARTS: [&str; 49] = [
    r#"watchNamespaces=["default"]"#,
    r#"tenantCredentials=[{"namespace":"default","secrets":["acme"],"serviceAccounts":["acme"]}]"#,
    r#"clientSecrets=[{"name":"AZURE_KC_CLIENT_SECRET","secretName":"acme","key":"secret","namespaces":["tenants"]}]"#,
    r#"localKek={"secretName":"keks"}"#,
    r#"proxy={"https":"http://proxy.example:3128","http":"http://proxy.example","noProxy":".svc"}"#,
    r#"caBundle={"configMapName":"company-ca","key":"ca.crt"}"#,
    r#"image={"digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
    r#"imagePullSecrets=[{"name":"registry"}]"#,
    r#"extraArgs=["--log-format=text"]"#,
    r#"extraEnv=[{"name":"TENANT_KMS_LOG","value":"debug"}]"#,
    r#"extraVolumes=[{"name":"more","emptyDir":{}}]"#,
    r#"extraInitContainers=[{"name":"first","image":"first:1"}]"#,
    r#"extraContainers=[{"name":"beside","image":"beside:1"}]"#,
    r#"extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"more"},"data":{"a":"b"}}]"#,
    r#"tolerations=[{"key":"system","operator":"Exists"}]"#,
    r#"nodeSelector={"kubernetes.io/os":"linux"}"#,
    r#"affinity={"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","labelSelector":{}}]}}"#,
    r#"hostAliases=[{"ip":"10.0.0.9","hostnames":["vault.example"]}]"#,
    r#"dnsPolicy="Default""#,
    r#"dnsConfig={"nameservers":["10.0.0.10"]}"#,
    r#"priorityClassName="system-cluster-critical""#,
    r#"runtimeClassName="gvisor""#,
    r#"schedulerName="other""#,
    r#"strategy={"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}"#,
    "revisionHistoryLimit=2",
    "terminationGracePeriodSeconds=60",
    r#"podAnnotations={"a":"b"}"#,
    r#"podLabels={"a":"b"}"#,
    r#"deploymentAnnotations={"a":"b"}"#,
    r#"commonLabels={"team":"platform"}"#,
    r#"config={"apiVersion":"config.tenantkms.dev/v1alpha1","kind":"OperatorConfig","clientSecretVariables":[{"name":"OTHER","tenants":["tenants/acme"]}]}"#,
    r#"workloadIdentity={"azure":{"enabled":true,"clientId":"11112222-3333-4444-5555-666677778888"}}"#,
    r#"workloadIdentity={"aws":{"roleArn":"arn:aws:iam::123456789012:role/tenant-kms"}}"#,
    r#"workloadIdentity={"gcp":{"serviceAccount":"kms@acme.iam.gserviceaccount.com"}}"#,
    r#"serviceAccount={"annotations":{"a":"b"},"labels":{"c":"d"}}"#,
    r#"networkPolicy={"enabled":true}"#,
    r#"networkPolicy={"enabled":true,"ingress":[{"from":[{"podSelector":{}}]}],"egress":[{"ports":[{"port":8443}]}]}"#,
    r#"serviceMonitor={"enabled":true,"relabelings":[{"action":"labeldrop","regex":"pod"}]}"#,
    r#"prometheusRule={"enabled":true,"additionalLabels":{"release":"prometheus"}}"#,
    r#"records.writers={"users":["system:serviceaccount:velero:velero"],"groups":["backup"]}"#,
    r#"probes={"readiness":{"initialDelaySeconds":1}}"#,
    "replicaCount=3",
    r#"agent={"port":9443,"service":{"annotations":{"a":"b"}}}"#,
    r#"agent={"drainSeconds":20}"#,
    r#"dashboards={"enabled":true,"namespace":"kube-public","labels":{"grafana":"yes"}}"#,
    r#"agent={"tls":{"caNamespaces":["kube-public"]}}"#,
    r#"agent={"tls":{"secretName":"agent-tls"}}"#,
    r#"agent={"tls":{"certManager":{"enabled":true,"issuerRef":{"name":"ca","kind":"ClusterIssuer"}}}}"#,
    r#"networkPolicy={"enabled":true,"agentFrom":[{"podSelector":{}}]}"#,
];

/// Each part that is there by default, switched off.
const OFF: [&str; 13] = [
    r#"rbac={"create":false}"#,
    r#"rbac={"aggregateToView":false,"aggregateToEdit":false,"aggregateToAdmin":false}"#,
    r#"admissionPolicies={"create":false}"#,
    r#"crds={"create":false}"#,
    r#"crds={"keep":false}"#,
    "records.keep=false",
    r#"serviceAccount={"create":false,"name":"default"}"#,
    r#"podDisruptionBudget={"enabled":false}"#,
    r#"flowSchema={"enabled":false}"#,
    r#"metrics={"service":{"enabled":false}}"#,
    r#"probes={"liveness":{"enabled":false},"readiness":{"enabled":false}}"#,
    "topologySpreadConstraints=[]",
    r#"agent={"enabled":false}"#,
];

/// The kinds of other operators, for what they are to the chart: names.
const OTHERS: [(&str, &str, &str); 3] = [
    ("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com", "PrometheusRule", "prometheusrules"),
    ("cert-manager.io", "Certificate", "certificates"),
];

async fn others(control: &ControlPlane) -> Result<()> {
    let crds = OTHERS.map(|(group, kind, plural)| {
        let version = json!({
            "name": "v1", "served": true, "storage": true,
            "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } },
        });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": {
                "group": group, "scope": "Namespaced", "versions": [version],
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
            },
        })
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": crds });
    let apply = ["apply", "--server-side", "-f", "-"];
    let applied = control.kubectl_stdin(&apply, &list.to_string()).await?;
    applied.success()?;
    let names = OTHERS.map(|(group, _, plural)| format!("crd/{plural}.{group}"));
    let mut wait = vec!["wait", "--for=condition=Established", "--timeout=60s"];
    wait.extend(names.iter().map(String::as_str));
    control.kubectl(&wait).await?.success().map(drop)
}

/// The rendered documents. The namespace of the records is one that exists.
async fn documents(control: &ControlPlane, sets: &[&str]) -> Result<BTreeSet<String>> {
    let sets = [&[r#"records={"create":false,"namespace":"default"}"#], sets].concat();
    let verb = ["template", "tkms", "--namespace", "default"];
    let rendered = helm(control, &verb, &sets).await?.success()?;
    let documents = rendered.split("\n---\n").map(str::to_owned);
    Ok(documents.filter(|text| text.contains("kind:")).collect())
}

/// Has the API server try what differs from `tried` already, without storing anything.
async fn try_out(control: &ControlPlane, sets: &[&str], tried: &BTreeSet<String>) -> Result<()> {
    let all = documents(control, sets).await?;
    ensure!(all != *tried, "{sets:?} change nothing");
    let new: Vec<&str> = all.difference(tried).map(String::as_str).collect();
    if new.is_empty() {
        return Ok(());
    }
    let args = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--force-conflicts",
    ];
    let args = [&args[..], &["-f", "-"]].concat();
    let answer = control.kubectl_stdin(&args, &new.join("\n---\n")).await?;
    ensure!(answer.status, "{sets:?}: {}", answer.stderr);
    let said = answer.stderr.to_lowercase();
    ensure!(!said.contains("warning"), "{sets:?}: {said}");
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_what_is_rendered() -> Result<()> {
    let control = ControlPlane::shared().await?;
    others(control).await?;
    let none = BTreeSet::new();
    try_out(control, &[], &none).await?;
    let usual = documents(control, &[]).await?;
    let mount = r#"extraVolumeMounts=[{"name":"more","mountPath":"/more"}]"#;
    let everything = [&PARTS[..], &[mount]].concat();
    try_out(control, &everything, &none).await?;
    try_out(control, &OFF, &none).await?;
    stream::iter(PARTS.iter().chain(&OFF).map(std::slice::from_ref))
        .map(|part| try_out(control, part, &usual))
        .buffer_unordered(3)
        .try_collect::<()>()
        .await?;
    for sets in [&[][..], &everything, &OFF[..]] {
        let linted = helm(control, &["lint", "--strict"], sets).await?;
        ensure!(
            linted.status,
            "{sets:?}: {}{}",
            linted.stdout,
            linted.stderr
        );
    }
    Ok(())
}

/// The operator reads the configuration that the chart makes of a client secret.
#[tokio::test]
async fn a_client_secret_is_mounted_and_allowed_in_one_place() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let secret = r#"clientSecrets=[{"name":"AZURE","secretName":"acme","key":"k","tenants":["a/b"],"namespaces":["c"]}]"#;
    let show = |template: &'static str| {
        let verb = ["template", "tkms", "--show-only", template];
        async move { helm(control, &verb, &[secret]).await?.success() }
    };
    let map: Value = serde_yaml_ng::from_str(&show("templates/configmap.yaml").await?)?;
    let config = map["data"]["config.yaml"].as_str().unwrap_or_default();
    let config: Value = serde_yaml_ng::from_str(config)?;
    let allowed = json!([{ "name": "AZURE", "tenants": ["a/b", "c/*"] }]);
    ensure!(config["clientSecretVariables"] == allowed, "{config}");
    let deployment: Value = serde_yaml_ng::from_str(&show("templates/deployment.yaml").await?)?;
    let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
    let source = &volumes[1]["projected"]["sources"][0]["secret"];
    ensure!(
        source["name"] == "acme" && source["items"] == json!([{ "key": "k", "path": "AZURE" }]),
        "{volumes}"
    );
    Ok(())
}

/// A Secret with the platform's keys is mounted whole, where the option says, and only then.
#[tokio::test]
async fn the_platforms_keys_are_mounted_where_the_operator_looks() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let show = ["--show-only", "templates/deployment.yaml"];
    let verb = [&["template", "tkms"][..], &show].concat();
    let deployment = async |sets: &[&str]| -> Result<Value> {
        let rendered = helm(control, &verb, sets).await?.success()?;
        Ok(serde_yaml_ng::from_str(&rendered)?)
    };
    let without = deployment(&[]).await?;
    let with = deployment(&[r#"localKek={"secretName":"keks"}"#]).await?;
    let pod = |deployment: &Value| deployment["spec"]["template"]["spec"].clone();
    ensure!(!pod(&without).to_string().contains("kek"), "{without}");
    let (container, volumes) = (&pod(&with)["containers"][0], &pod(&with)["volumes"]);
    let folder = "/etc/tenant-kms/local-keks";
    let args = container["args"].as_array().into_iter().flatten();
    ensure!(
        args.filter(|arg| **arg == format!("--local-kek-dir={folder}"))
            .count()
            == 1
    );
    let mount = json!({ "name": "local-keks", "mountPath": folder, "readOnly": true });
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    ensure!(
        mounts.filter(|one| **one == mount).count() == 1,
        "{container}"
    );
    let secret = json!({ "secretName": "keks", "defaultMode": 0o440, "optional": true });
    let mut volumes = volumes.as_array().into_iter().flatten();
    ensure!(volumes.any(|one| one["name"] == "local-keks" && one["secret"] == secret));
    Ok(())
}

/// By default the pods are what the "restricted" Pod Security Standard asks, two, spread.
#[tokio::test]
async fn the_pods_are_restricted_and_spread() -> Result<()> {
    let control = ControlPlane::shared().await?;
    let verb = [
        "template",
        "tkms",
        "--show-only",
        "templates/deployment.yaml",
    ];
    let deployment = helm(control, &verb, &[]).await?.success()?;
    let deployment: Value = serde_yaml_ng::from_str(&deployment)?;
    let pod = &deployment["spec"]["template"];
    let spread = &pod["spec"]["topologySpreadConstraints"][0];
    ensure!(
        deployment["spec"]["replicas"] == 2 && spread["topologyKey"] == "kubernetes.io/hostname"
    );
    ensure!(spread["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "tkms");
    ensure!(pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] == true);
    // The API server judges the rest.
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "chart-restricted", "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
    } });
    let apply = ["apply", "--server-side", "-f", "-"];
    let namespace = namespace.to_string();
    control.kubectl_stdin(&apply, &namespace).await?.success()?;
    let object = json!({ "apiVersion": "v1", "kind": "Pod", "spec": pod["spec"], "metadata": {
        "name": "operator", "namespace": "chart-restricted", "labels": pod["metadata"]["labels"],
    } });
    let create = ["create", "--dry-run=server", "-f", "-"];
    let good = control.kubectl_stdin(&create, &object.to_string()).await?;
    ensure!(good.status, "{}", good.stderr);
    let mut root = object;
    root["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 0 });
    let bad = control.kubectl_stdin(&create, &root.to_string()).await?;
    ensure!(
        bad.stderr.contains("violates PodSecurity"),
        "{}",
        bad.stderr
    );
    Ok(())
}
