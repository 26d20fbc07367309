//! What the chart's admission policies refuse, and whom they let pass. Whoever may edit a
//! `TenantKms` must not borrow the operator's rights, and nobody loses records by accident.

mod records;
mod tokens;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::{Env, Output, access, repository};
use serde_json::{Value, json};

use crate::seen::eventually;
use crate::support::{CLIENT, DIRECTORY, SOON, World, manifest};

/// A `ServiceAccount` with those of the chart's `ClusterRole`s in the tenants' namespace, as the
/// aggregated roles have them in force, and its kubeconfig.
pub async fn person(env: &Env, name: &str, roles: &[&str]) -> Result<PathBuf> {
    let account = format!("--serviceaccount={}:{name}", env.namespace);
    env.kubectl(&["create", "serviceaccount", name])
        .await?
        .success()?;
    for role in roles {
        let of = format!(
            "--clusterrole=tenant-kms-operator.{}.tkms-{role}",
            env.operator_namespace
        );
        let binding = format!("{name}-{role}s");
        env.kubectl(&["create", "rolebinding", &binding, &of, &account])
            .await?
            .success()?;
        let (verb, resource) = match *role {
            "view" => ("get", "tenantkmses".to_owned()),
            "edit" => ("create", "tenantkmses".to_owned()),
            "admin" => ("create", "tenantkmses/migrate".to_owned()),
            other => ("create", format!("tenantkmses/{other}")),
        };
        let given = access(&env.namespace, verb, "tenantkms.dev", &resource);
        env.until_may(&env.user(name), given, true).await?;
    }
    env.control
        .service_account_kubeconfig(&env.namespace, name, env.dir.path())
        .await
}

async fn editor(env: &Env) -> Result<PathBuf> {
    person(env, "editor", &["view", "edit"]).await
}

/// Lends a person a right on these in the tenants' namespace, and waits until it is in force.
async fn lend(env: &Env, name: &str, verb: &str, resource: &str, names: &[&str]) -> Result<()> {
    let mut lent = access(&env.namespace, verb, "", resource);
    lent.name = names.last().map(ToString::to_string);
    let (verb, resource) = (format!("--verb={verb}"), format!("--resource={resource}"));
    let role = format!("{verb}{resource}").replace(['-', '=', '/', '.'], "");
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("--resource-name={name}"))
        .collect();
    let mut args = vec!["create", "role", &role, &verb, &resource];
    args.extend(names.iter().map(String::as_str));
    env.kubectl(&args).await?.success()?;
    let of = format!("--role={role}");
    let account = format!("--serviceaccount={}:{name}", env.namespace);
    env.kubectl(&["create", "rolebinding", &role, &of, &account])
        .await?
        .success()?;
    env.until_may(&env.user(name), lent, true).await
}

async fn apply_as(env: &Env, kubeconfig: &Path, object: &Value) -> Result<Output> {
    let file = env.dir.path().join("object.json");
    std::fs::write(&file, object.to_string())?;
    let file = file.display().to_string();
    let args = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--namespace",
        &env.namespace,
        "-f",
        &file,
    ];
    env.control.kubectl_as(kubeconfig, &args).await
}

/// Waits until the policy answers with its words: it takes a moment to be in force.
async fn refused(env: &Env, who: &Path, object: &Value, words: &str) -> Result<()> {
    eventually(words, SOON, async || {
        let answer = apply_as(env, who, object).await?;
        ensure!(
            answer.status || answer.stderr.contains("denied request"),
            "{}",
            answer.stderr
        );
        if answer.status {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            env.kubectl(&["delete", "tkms", name]).await?.success()?;
        }
        Ok(answer.stderr.contains(words))
    })
    .await
}

fn tenant(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "tenantkms.dev/v1alpha1", "kind": "TenantKms",
        "metadata": { "name": name }, "spec": spec,
    })
}

fn azure(name: &str, key: &str, identity: &Value) -> Value {
    let key = format!("https://acme-kv.vault.azure.net/keys/{key}");
    tenant(
        name,
        &json!({ "provider": "azure", "kmsKeyRef": key, "azure": identity }),
    )
}

#[tokio::test]
async fn a_spec_uses_only_what_its_writer_may_use() -> Result<()> {
    let env = Env::new("caller").await?;
    let editor = editor(&env).await?;
    let with = |secret: &str| {
        let secret = json!({ "secretRef": { "name": secret, "key": "client-secret" } });
        json!({ "tenantId": DIRECTORY, "clientId": CLIENT, "clientSecret": secret })
    };

    // Another's Secret.
    let borrows = azure("secret", "k", &with("acme-azure"));
    refused(&env, &editor, &borrows, "right to `get` that Secret").await?;
    // The same where a key is to be taken over from it.
    let mut taken = azure("taken", "k", &json!({}));
    taken["spec"]["masterKey"] = json!({ "importFrom": {
        "secretRef": { "name": "acme-azure", "key": "wrapped" },
        "algorithm": "RSA-OAEP-256",
    } });
    refused(&env, &editor, &taken, "right to `get` that Secret").await?;
    // Another's ServiceAccount, in each provider's block.
    let account =
        json!({ "tenantId": DIRECTORY, "clientId": CLIENT, "serviceAccountName": "acme" });
    let aws = json!({
        "provider": "aws", "kmsKeyRef": "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "aws": { "roleArn": "arn:aws:iam::123456789012:role/acme", "serviceAccountName": "acme" },
    });
    let gcp = json!({
        "provider": "gcp", "kmsKeyRef": "projects/acme-prod/locations/europe-west1/keyRings/r/cryptoKeys/k",
        "gcp": {
            "workloadIdentityProvider": "projects/123456789/locations/global/workloadIdentityPools/pool/providers/cluster",
            "serviceAccountName": "acme",
        },
    });
    let minted = [
        azure("account", "k", &account),
        tenant("account", &aws),
        tenant("account", &gcp),
    ];
    for borrows in &minted {
        refused(&env, &editor, borrows, "`create` serviceaccounts/token").await?;
    }
    // Adding them later is the same.
    let plain =
        json!({ "tenantId": DIRECTORY, "clientId": CLIENT, "clientSecret": { "envVar": "X" } });
    let own = azure("later", "k", &plain);
    apply_as(&env, &editor, &own).await?.success()?;
    let mut taken_later = own.clone();
    taken_later["spec"]["masterKey"] = taken["spec"]["masterKey"].clone();
    for (later, words) in [
        (taken_later, "`get` that Secret"),
        (
            azure("later", "k", &with("acme-azure")),
            "`get` that Secret",
        ),
        (azure("later", "k", &account), "serviceaccounts/token"),
    ] {
        let answer = apply_as(&env, &editor, &later).await?;
        ensure!(
            !answer.status && answer.stderr.contains(words),
            "{}",
            answer.stderr
        );
    }

    // The right to another Secret or account is not enough; to this one it is.
    lend(&env, "editor", "get", "secrets", &["acme-azure"]).await?;
    lend(&env, "editor", "create", "serviceaccounts/token", &["acme"]).await?;
    let other = apply_as(&env, &editor, &azure("other", "k", &with("other-azure"))).await?;
    ensure!(!other.status, "another's Secret");
    apply_as(&env, &editor, &taken).await?.success()?;
    apply_as(&env, &editor, &borrows).await?.success()?;
    for borrows in &minted[..1] {
        apply_as(&env, &editor, borrows).await?.success()?;
    }

    // Who lost the right can still stop the tenant, but not point the secret elsewhere.
    env.kubectl(&["delete", "rolebinding", "verbgetresourcesecrets"])
        .await?
        .success()?;
    let patch = async |patch: &str| {
        let patch = format!("--patch={patch}");
        let args = [
            "patch",
            "tkms",
            "secret",
            "--type=merge",
            &patch,
            "--namespace",
        ];
        let args = [&args[..], &[env.namespace.as_str()]].concat();
        env.control.kubectl_as(&editor, &args).await
    };
    let elsewhere = r#"{"spec":{"azure":{"clientId":"99992222-3333-4444-5555-666677778888"}}}"#;
    eventually("the right is gone", SOON, async || {
        Ok(patch(elsewhere).await?.stderr.contains("`get` that Secret"))
    })
    .await?;
    patch(r#"{"spec":{"suspend":true}}"#).await?.success()?;
    patch(r#"{"metadata":{"labels":{"a":"b"}}}"#)
        .await?
        .success()?;

    // An administrator needs no lending.
    let admins = azure("admins", "k", &with("any"));
    env.apply(&admins.to_string()).await?.success().map(drop)
}

/// What docs/argo-cd.md gives the writer of the tenants' namespace is enough, and each of it used.
#[tokio::test]
async fn the_page_gives_a_gitops_controller_what_it_needs() -> Result<()> {
    let env = Env::new("gitops").await?;
    let argo = editor(&env).await?;
    let lent = |key: &str| {
        let secret = json!({ "secretRef": { "name": "maple-azure", "key": "client-secret" } });
        azure(
            "maple",
            key,
            &json!({ "tenantId": DIRECTORY, "clientId": CLIENT, "clientSecret": secret }),
        )
    };
    let account =
        json!({ "tenantId": DIRECTORY, "clientId": CLIENT, "serviceAccountName": "rowan-kms" });
    let minted = azure("rowan", "k", &account);
    refused(&env, &argo, &lent("k"), "right to `get` that Secret").await?;
    refused(&env, &argo, &minted, "serviceaccounts/token").await?;

    let page = std::fs::read_to_string(repository().join("docs/argo-cd.md"))?;
    let section = page.split_once("## Rights of the GitOps controller");
    let role = section.and_then(|(_, rest)| rest.split_once("```yaml\n"));
    let role = role.and_then(|(_, rest)| rest.split_once("```"));
    let (role, _) = role.context("the page's Role")?;
    let here = format!("namespace: {}", env.namespace);
    env.apply(&role.replace("namespace: tenants", &here))
        .await?
        .success()?;
    let account = format!("--serviceaccount={}:editor", env.namespace);
    let bind = [
        "create",
        "rolebinding",
        "gitops",
        "--role=tenant-kms-gitops",
    ];
    env.kubectl(&[&bind[..], &[&account]].concat())
        .await?
        .success()?;
    for object in [lent("k"), minted, lent("another")] {
        eventually("the Role is enough", SOON, async || {
            Ok(apply_as(&env, &argo, &object).await?.status)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn another_key_needs_the_right_to_migrate() -> Result<()> {
    let env = Env::new("migrate").await?;
    let editor = editor(&env).await?;
    let admin = person(&env, "admin", &["view", "edit", "admin"]).await?;
    let identity =
        json!({ "tenantId": DIRECTORY, "clientId": CLIENT, "clientSecret": { "envVar": "X" } });
    let version = "0123456789abcdef0123456789abcdef";
    let first = azure("acme", "first", &identity);
    apply_as(&env, &editor, &first).await?.success()?;
    let local = tenant(
        "acme",
        &json!({ "provider": "local", "kmsKeyRef": "local://standard" }),
    );

    let words = "tenantkmses/migrate";
    let second = azure("acme", "second", &identity);
    eventually("the policy is in force", SOON, async || {
        let answer = apply_as(&env, &editor, &second).await?;
        if answer.status {
            apply_as(&env, &editor, &first).await?;
        }
        Ok(answer.stderr.contains(words))
    })
    .await?;
    let moved = second.to_string().replace("acme-kv", "evil-kv");
    for other in [&local, &serde_json::from_str(&moved)?] {
        let answer = apply_as(&env, &editor, other).await?;
        ensure!(answer.stderr.contains(words), "{other}: {}", answer.stderr);
    }
    // Another version is the same key, and its name ignores case.
    for same in [
        format!("first/{version}"),
        "First".to_owned(),
        "first".to_owned(),
    ] {
        let same = azure("acme", &same, &identity);
        apply_as(&env, &editor, &same).await?.success()?;
    }
    for to in [&second, &local, &first] {
        apply_as(&env, &admin, to).await?.success()?;
    }
    Ok(())
}

/// A world's tenant is edited by people with the operator running: nothing here stops it.
#[tokio::test]
async fn an_editor_gets_a_tenant_active() -> Result<()> {
    let world = World::new("editor").await?;
    let editor = editor(&world.env).await?;
    let _operator = world.operator().await?;
    let object: Value = serde_yaml_ng::from_str(&manifest("acme", ""))?;
    apply_as(&world.env, &editor, &object).await?.success()?;
    world
        .env
        .wait_condition("acme", "Ready", "True", Some("Verified"), SOON)
        .await
        .map(drop)
}
