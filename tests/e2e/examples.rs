//! What people copy: the examples, applied as they stand but for the namespace, under the
//! configuration that lies beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use fakecloud::Scope;
use harness::{Env, OperatorOptions, repository};
use serde::Deserialize;
use serde_json::{Value, json};
use tenant_kms::server::tls::ca::{CONFIG_MAP, DATA_KEY};
use tenant_kms::session::caller::AUDIENCE;
use tokio::process::Command;

use crate::support::{CLIENT, DIRECTORY, SECRET, SOON, VARIABLE};

/// The file with the test's namespace in place of `tenants`.
pub fn example(env: &Env, file: &str) -> Result<String> {
    let path = repository().join("examples").join(file);
    let text = fs::read_to_string(&path).with_context(|| file.to_owned())?;
    let namespace = &env.namespace;
    let operator = format!("namespace: {}", env.operator_namespace);
    Ok(text
        .replace("namespace: tenant-kms-system", &operator)
        .replace("namespace: tenants", &format!("namespace: {namespace}"))
        .replace("tenants/", &format!("{namespace}/")))
}

async fn active(env: &Env, folder: &str, files: &[(&str, &str)]) -> Result<()> {
    active_with(env, env.operator_options(), folder, files).await
}

/// Applies the tenants and waits for each to be Ready.
pub async fn active_with(
    env: &Env,
    options: OperatorOptions,
    folder: &str,
    files: &[(&str, &str)],
) -> Result<()> {
    env.write_config(&example(env, &format!("{folder}/operator-config.yaml"))?);
    let _operator = env.spawn(options).await?;
    for (file, tenant) in files {
        let applied = env
            .apply(&example(env, &format!("{folder}/{file}"))?)
            .await?;
        applied.success()?;
        env.wait_condition(tenant, "Ready", "True", Some("Verified"), SOON)
            .await?;
    }
    // What was applied server-side has no default filled in, so nothing to fight over.
    for file in applied(folder)? {
        let again = example(env, &format!("{folder}/{file}"))?;
        let diff = env
            .control
            .kubectl_stdin(&["diff", "--server-side", "-f", "-"], &again)
            .await?;
        ensure!(diff.status && diff.stdout.is_empty(), "{}", diff.stdout);
    }
    Ok(())
}

/// The files of an example that `kubectl` applies: all but the operator's own configuration.
fn applied(folder: &str) -> Result<Vec<String>> {
    let files = fs::read_dir(repository().join("examples").join(folder))?;
    let names: Result<Vec<_>, _> = files
        .map(|file| file.map(|file| file.file_name().to_string_lossy().into_owned()))
        .collect();
    let mut names = names?;
    names.retain(|name| name != "operator-config.yaml");
    Ok(names)
}

/// `verify` of a copied example without the configuration beside it says what is missing.
#[tokio::test]
async fn verify_asks_for_the_configuration() -> Result<()> {
    let file = repository().join("examples/azure-client-secret/tenant.yaml");
    let ran = Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
        .args(["verify", "--file"])
        .arg(file)
        .output()
        .await?;
    let (said, hint) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    ensure!(said.contains("NotAllowed"), "{said}");
    ensure!(hint.contains("Without --config"), "{hint}");
    Ok(())
}

#[tokio::test]
async fn a_client_secret() -> Result<()> {
    let env = Env::new("exsecret").await?;
    let directory = env.cloud.directory(DIRECTORY);
    let app = directory.application(CLIENT);
    app.add_secret(SECRET);
    env.set_secret(VARIABLE, SECRET);
    let vault = env.cloud.vault("acme-kv", &directory);
    vault.create_key("tenant-wrapping-key");
    vault.grant(app.principal(), Scope::Vault);
    active(&env, "azure-client-secret", &[("tenant.yaml", "acme")]).await
}

#[tokio::test]
async fn managed_identities() -> Result<()> {
    let env = Env::new("exmanaged").await?;
    let directory = env.cloud.directory(DIRECTORY);
    let imds = env.cloud.imds();
    let system = imds.system_assigned(&directory);
    let user = imds.user_assigned(
        &directory,
        "22223333-4444-5555-6666-777788889999",
        "33334444-5555-6666-7777-888899990000",
        "/subscriptions/1/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/cedar",
    );
    for (name, principal) in [("birch-kv", system), ("cedar-kv", user)] {
        let vault = env.cloud.vault(name, &directory);
        vault.create_key("tenant-wrapping-key");
        vault.grant(principal, Scope::Vault);
    }
    let files = [
        ("tenant.yaml", "birch"),
        ("tenant-user-assigned.yaml", "cedar"),
    ];
    active(&env, "azure-managed-identity", &files).await
}

/// Google's: the operator's own service account, which in the second it becomes the customer's.
#[tokio::test]
async fn google_own_and_impersonated() -> Result<()> {
    const USE: &str = "roles/cloudkms.cryptoKeyEncrypterDecrypter";
    for (folder, tenant, place) in [
        ("gcp-own-identity", "juniper", "europe-west3"),
        ("gcp-impersonation", "willow", "global"),
    ] {
        let env = Env::new("exgoogle").await?;
        let gcp = env.cloud.gcp();
        let own = gcp.service_account("tenant-kms@platform-1.iam.gserviceaccount.com");
        gcp.machine_account(Some(&own));
        let project = format!("{tenant}-prod");
        let key = gcp.create_key(&format!(
            "projects/{project}/locations/{place}/keyRings/platform/cryptoKeys/tenant-wrapping-key"
        ));
        let customer =
            gcp.service_account(&format!("tenant-kms@{project}.iam.gserviceaccount.com"));
        let becomes = "roles/iam.serviceAccountTokenCreator";
        let user = if tenant == "willow" { &customer } else { &own };
        gcp.grant(&customer.resource(), &own.member(), becomes)?;
        gcp.grant(key.name(), &user.member(), USE)?;
        active(&env, folder, &[("tenant.yaml", tenant)]).await?;
    }
    Ok(())
}

/// The pod has the files and variables of examples/agent.rs where that looks for them: a token for the
/// operator, and the CA that it publishes.
fn is_what_the_program_reads(pod: &Value, tenant: &str) -> Result<()> {
    let program = include_str!("../../examples/agent.rs");
    let reads: BTreeSet<&str> = program
        .split(r#"variable(""#)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0))
        .filter(|name| *name != "INTERVAL") // it has a default
        .collect();
    let container = &pod["containers"][0];
    let given = container["env"].as_array().context("variables")?;
    let given: BTreeMap<&str, &str> = given
        .iter()
        .filter_map(|one| Some((one["name"].as_str()?, one["value"].as_str()?)))
        .collect();
    ensure!(
        given.keys().copied().collect::<BTreeSet<_>>() == reads,
        "{given:?}, not {reads:?}"
    );
    ensure!(given["TENANT"] == tenant, "{given:?}");

    let named = |list: &Value, name: &str| -> Result<Value> {
        let mut all = list.as_array().into_iter().flatten();
        let found = all.find(|one| one["name"] == name);
        found
            .cloned()
            .with_context(|| format!("no {name} in {list}"))
    };
    let mounts = &container["volumeMounts"];
    let mounted = |name: &str| named(mounts, name).map(|mount| mount["mountPath"].clone());
    ensure!(mounted("data")? == given["DATA_DIR"]);
    let folder = mounted("tenant-kms")?;
    let volume = named(&pod["volumes"], "tenant-kms")?;
    let sources = &volume["projected"]["sources"];
    let (token, map) = (&sources[0]["serviceAccountToken"], &sources[1]["configMap"]);
    ensure!(token["audience"] == AUDIENCE, "{token}");
    let item = &map["items"][0];
    ensure!(
        map["name"] == CONFIG_MAP && item["key"] == DATA_KEY,
        "{map}"
    );
    for (variable, path) in [("TOKEN_FILE", &token["path"]), ("CA_FILE", &item["path"])] {
        let (folder, path) = (folder.as_str(), path.as_str());
        let file = format!(
            "{}/{}",
            folder.unwrap_or_default(),
            path.unwrap_or_default()
        );
        ensure!(given[variable] == file, "{variable} is not {file}");
    }
    Ok(())
}

/// The workload's objects are taken without a warning, its pod by the restricted Pod Security Standard,
/// and its Role is what the operator asks about: this tenant's sessions, and nothing besides.
#[tokio::test]
async fn a_workload() -> Result<()> {
    let env = Env::new("exworkload").await?;
    let (control, apps) = (&env.control, format!("{}-apps", env.namespace));
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": apps, "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
    } });
    let apply = ["apply", "--server-side", "-f", "-"];
    let namespace = namespace.to_string();
    control.kubectl_stdin(&apply, &namespace).await?.success()?;
    let text = example(&env, "workload.yaml")?;
    let text = text.replace("namespace: apps", &format!("namespace: {apps}"));
    let applied = control.kubectl_stdin(&apply, &text).await?;
    ensure!(applied.stderr.is_empty(), "{}", applied.stderr);
    applied.success()?;

    let mut objects = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
    let deployment = objects.find(|object| matches!(object, Ok(it) if it["kind"] == "Deployment"));
    let deployment = deployment.context("no Deployment")??;
    let template = &deployment["spec"]["template"];
    let tenant = format!("{}/acme", env.namespace);
    is_what_the_program_reads(&template["spec"], &tenant)?;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": template["spec"], "metadata": {
        "name": "orders", "namespace": apps, "labels": template["metadata"]["labels"],
    } });
    let create = ["create", "--dry-run=server", "-f", "-"];
    let made = control.kubectl_stdin(&create, &pod.to_string()).await?;
    ensure!(made.status && made.stderr.is_empty(), "{}", made.stderr);

    let user = format!("--as=system:serviceaccount:{apps}:orders");
    for (verb, what, sub, expected) in [
        ("create", "tenantkmses/acme", "session", "yes"),
        ("create", "tenantkmses/acme", "datakey", "no"),
        ("create", "tenantkmses/birch", "session", "no"),
        ("get", "tenantkmses/acme", "", "no"),
    ] {
        let sub = format!("--subresource={sub}");
        let answer = env
            .kubectl(&["auth", "can-i", verb, what, &sub, &user])
            .await?;
        ensure!(
            answer.stdout.trim() == expected,
            "{verb} {what} {sub}: {answer:?}"
        );
    }
    Ok(())
}
