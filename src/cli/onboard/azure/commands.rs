//! The commands, for `az` and `kubectl`. Every argument that is not a word of ours is
//! single-quoted, and no comment has a quote: pasted into zsh, it would open one.

use serde_json::json;

use super::manifest::SECRET_KEY;
use super::{Plan, SecretPlace, Who};
use crate::cli::onboard::{granted, right};
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
            "The service principal of the application in this directory, which for an application \
             of another directory is the consent.",
            &format!("az ad sp show --id {client} --output none || az ad sp create --id {client}"),
        );
    }
    match &plan.who {
        Who::Federated {
            issuer, subject, ..
        } => {
            // Entra takes letters, digits, - and _ there.
            let name = format!("tenant-kms-{}", plan.tenant.name.replace('.', "-"));
            let parameters = json!({
                "name": name, "issuer": issuer, "subject": subject, "audiences": [AUDIENCE],
            });
            add(
                "The application trusts this ServiceAccount in the cluster of the platform. Left out \
                 when the application belongs to the platform.",
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

/// What the platform adds to its policy and lends, before it applies the manifest.
pub fn platform(plan: &Plan) -> String {
    allow(plan).unwrap_or_default() + &lend(plan).unwrap_or_default()
}

/// What the platform's policy has to say.
fn allow(plan: &Plan) -> Option<String> {
    let tenant = &plan.tenant;
    let identity = match &plan.who {
        Who::Own { managed: true } => "managedIdentity",
        // Another's application by the operator's own token: a grant without any *.
        Who::Own { managed: false } | Who::Federated { lent: None, .. } => "workloadIdentity",
        Who::Secret {
            place: SecretPlace::Variable(variable),
            ..
        } => {
            let secret = format!("{}-azure", tenant.name);
            return Some(format!(
                "# In the values of the chart first. The Secret belongs into the namespace of the \
                 release:\n#   clientSecrets:\n#     - {{ name: {variable}, secretName: {secret}, \
                 key: {SECRET_KEY}, tenants: [{tenant}] }}\nkubectl create secret generic {} \
                 --namespace 'tenant-kms-system' --from-file='{SECRET_KEY}=client-secret.txt'\n",
                quoted(&secret)
            ));
        }
        Who::Secret { .. } | Who::Federated { .. } => return None,
    };
    Some(granted(
        tenant,
        &plan.key.id,
        Some(&format!("azure: {identity}")),
    ))
}

/// What the tenant's namespace lends to the operator, and the right to use it.
fn lend(plan: &Plan) -> Option<String> {
    let namespace = &plan.tenant.namespace;
    let right = |entry: String| right(&plan.tenant, &entry);
    match &plan.who {
        Who::Secret {
            place: SecretPlace::Lent(secret),
            ..
        } => Some(format!(
            "{}# The client secret of the customer, from a file, lent to this tenant by its label.\n\
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
