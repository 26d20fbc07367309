//! The commands, for `az` and `kubectl`. Every argument that is not a word of ours is
//! single-quoted.

use serde_json::json;

use super::manifest::SECRET_KEY;
use super::{Plan, SecretPlace, Who};
use crate::provider::azure::quoted;

const AUDIENCE: &str = "api://AzureADTokenExchange";

/// What the customer runs, signed in at its own directory.
pub fn customer(plan: &Plan) -> String {
    let mut text = String::from("# The customer runs this.\n");
    let mut add = |comment: &str, command: &str| {
        text.extend(["# ", comment, "\n", command, "\n"]);
    };
    let client = quoted(&plan.client);
    if let Who::Secret { directory, .. } | Who::Federated { directory, .. } = &plan.who {
        let login = format!("az login --tenant {}", quoted(directory));
        add("Sign in at the directory of the vault.", &login);
        add(
            "The application's service principal in this directory; for another directory's \
             application this is the consent.",
            &format!("az ad sp show --id {client} --output none || az ad sp create --id {client}"),
        );
    }
    match &plan.who {
        Who::Federated {
            issuer, subject, ..
        } => {
            let name = format!("tenant-kms-{}", plan.tenant.name);
            let parameters = json!({
                "name": name, "issuer": issuer, "subject": subject, "audiences": [AUDIENCE],
            });
            add(
                "The application trusts this ServiceAccount of the platform's cluster. Left out \
                 when the application is the platform's own.",
                &format!(
                    "az ad app federated-credential create --id {client} --parameters {}",
                    quoted(&parameters.to_string())
                ),
            );
        }
        Who::Secret { .. } => add(
            "A client secret, into a file that only you can read. Hand it over through a vault, \
             not by mail.",
            &format!(
                "(umask 077; az ad app credential reset --id {client} --append --display-name \
                 'tenant-kms' --years 1 --query password --output tsv > client-secret.txt)"
            ),
        ),
        Who::Own { .. } => {}
    }
    grant(plan, &client, &mut add);
    text
}

fn grant(plan: &Plan, client: &str, add: &mut impl FnMut(&str, &str)) {
    let vault = quoted(plan.key.vault());
    if plan.key.endpoint.hsm {
        let scope = quoted(&format!("/keys/{}", plan.key.name));
        add(
            "The right to wrap and unwrap with this key, and to read its attributes.",
            &format!(
                "az keyvault role assignment create --hsm-name {vault} --role 'Managed HSM Crypto \
                 Service Encryption User' --assignee {client} --scope {scope}"
            ),
        );
        return;
    }
    add(
        "The right to wrap and unwrap with this key, and to read its attributes: by role, or by \
         access policy where the vault still uses those.",
        &format!(
            "if [ \"$(az keyvault show --name {vault} --query properties.enableRbacAuthorization \
             --output tsv)\" = true ]; then\n  az role assignment create --role 'Key Vault Crypto \
             Service Encryption User' --assignee {client} --scope \"$(az keyvault show --name \
             {vault} --query id --output tsv)\"{key}\nelse\n  az keyvault set-policy --name \
             {vault} --spn {client} --key-permissions get wrapKey unwrapKey\nfi",
            key = quoted(&format!("/keys/{}", plan.key.name)),
        ),
    );
}

/// What the platform adds to its policy, and runs.
pub fn platform(plan: &Plan, manifest: &str) -> String {
    let tenant = &plan.tenant;
    let entry = match &plan.who {
        Who::Own { managed } => Some(format!(
            "#   operatorIdentity:\n#     azure: {}\n#     allow:\n#       - {{ tenants: \
             [{tenant}], keys: ['{}'] }}\n",
            if *managed {
                "managedIdentity"
            } else {
                "workloadIdentity"
            },
            plan.key.id
        )),
        Who::Secret {
            place: SecretPlace::Variable(variable),
            ..
        } => Some(format!(
            "#   clientSecretVariables:\n#     - {{ name: {variable}, tenants: [{tenant}] }}\n"
        )),
        Who::Secret { .. } | Who::Federated { .. } => None,
    };
    let entry = entry.map(|entry| {
        format!("# In the operator's configuration (Helm value config) first:\n{entry}")
    });
    let (name, namespace) = (quoted(&tenant.name), quoted(&tenant.namespace));
    format!(
        "# The platform runs this.\n{}{}kubectl apply -f - <<'MANIFEST'\n{manifest}MANIFEST\n\
         kubectl wait tkms/{name} --namespace {namespace} --for=condition=Ready --timeout=120s\n",
        entry.unwrap_or_default(),
        lend(plan).unwrap_or_default(),
    )
}

/// What the tenant's namespace lends to the operator, and the right to use it.
fn lend(plan: &Plan) -> Option<String> {
    let namespace = &plan.tenant.namespace;
    let right = |entry: String| {
        format!(
            "# In the chart's values first, the right to use what this namespace lends (one entry \
             for each namespace):\n#   tenantCredentials:\n#     - {{ namespace: {namespace}, \
             {entry} }}\n"
        )
    };
    match &plan.who {
        Who::Secret {
            place: SecretPlace::Lent(secret),
            ..
        } => Some(format!(
            "{}# The customer's client secret, from a file, lent to this tenant by its label.\n\
             kubectl create secret generic {secret} --namespace {place} \
             --from-file='{SECRET_KEY}=client-secret.txt'\n\
             kubectl label secret {secret} --namespace {place} {label}\n",
            right(format!("secrets: [{secret}]")),
            secret = quoted(secret),
            place = quoted(namespace),
            label = quoted(&format!("tenantkms.dev/tenant={}", plan.tenant.name)),
        )),
        Who::Federated {
            lent: Some(account),
            ..
        } => Some(right(format!("serviceAccounts: [{account}]"))),
        _ => None,
    }
}
