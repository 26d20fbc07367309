//! Azure: how a key of Key Vault or Managed HSM is written, and which credential fields go
//! together. Hosts are only checked for their form: which suffixes are allowed is the operator's
//! configuration.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use super::super::rule::{if_present, matches, rule, rule_with_hints};
use super::OBJECT_NAME;

const HOST: &str =
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+";
const GUID: &str = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
const IDENTITY_RESOURCE: &str = r"(?i:/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w.()-]{1,90}/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[\w-]{3,128})";

pub(super) fn spec() -> Vec<ValidationRule> {
    vec![
        key_ref(),
        rule(
            "self.provider != 'azure' || !has(self.azure) || !has(self.azure.vaultUrl) || \
             self.kmsKeyRef.lowerAscii().startsWith(self.azure.vaultUrl.lowerAscii() + \
             (self.azure.vaultUrl.endsWith('/') ? 'keys/' : '/keys/'))",
            "azure.vaultUrl",
            "must be the vault of kmsKeyRef (https://NAME.vault.azure.net), or be left out",
        ),
    ]
}

fn key_ref() -> ValidationRule {
    let written = matches(
        "kmsKeyRef",
        &format!("https://{HOST}/keys/[A-Za-z0-9-]{{1,127}}(/[0-9a-fA-F]{{32}})?"),
    );
    rule_with_hints(
        format!("self.provider != 'azure' || {written}"),
        "kmsKeyRef",
        &[
            (
                "self.kmsKeyRef.startsWith('arn:')",
                "this has the form of an AWS key and provider is azure: write provider: aws, or \
                 https://NAME.vault.azure.net/keys/KEY",
            ),
            (
                "self.kmsKeyRef.startsWith('projects/')",
                "this has the form of a GCP key and provider is azure: write provider: gcp, or \
                 https://NAME.vault.azure.net/keys/KEY",
            ),
            (
                "self.kmsKeyRef.startsWith('http://')",
                "write https:// instead of http://",
            ),
            (
                "!self.kmsKeyRef.startsWith('https://')",
                "write https://NAME.vault.azure.net/keys/KEY; the command az keyvault key show \
                 --vault-name NAME --name KEY --query key.kid prints it",
            ),
            (
                "self.kmsKeyRef.contains('@')",
                "leave out the user information in front of the host",
            ),
            (
                "self.kmsKeyRef.contains('?') || self.kmsKeyRef.contains('#')",
                "leave out everything from ? or # on",
            ),
            (
                "self.kmsKeyRef.matches(r'^https://[^/]*:')",
                "leave out the port",
            ),
            (
                "self.kmsKeyRef.matches(r'^https://[^/]*/(secrets|certificates)/')",
                "this names a secret or a certificate: write the key, \
                 https://NAME.vault.azure.net/keys/KEY",
            ),
            (
                "self.kmsKeyRef.matches(r'^https://[^/]+/?$')",
                "this names a vault: add the key, https://NAME.vault.azure.net/keys/KEY",
            ),
        ],
        "write https://NAME.vault.azure.net/keys/KEY or .../keys/KEY/VERSION: KEY has 1 to 127 \
         letters, digits and hyphens, VERSION has 32 hexadecimal digits",
    )
}

pub(super) fn block() -> Vec<ValidationRule> {
    let mut rules = vec![
        if_present(
            "tenantId",
            &matches("tenantId", GUID),
            "write the GUID of the customer's directory: az account show --query tenantId",
        ),
        if_present(
            "clientId",
            &matches("clientId", GUID),
            "write the GUID of the application: az ad app list --display-name NAME --query \
             [].appId",
        ),
        if_present(
            "serviceAccountName",
            &matches("serviceAccountName", OBJECT_NAME),
            NAME_OF_SA,
        ),
        rule_with_hints(
            "has(self.tenantId) == has(self.clientId)",
            "",
            &[(
                "has(self.clientId) && !has(self.clientSecret) && !has(self.serviceAccountName)",
                "clientId needs tenantId, the customer's directory; a managed identity is written \
                 as managedIdentity with its clientId",
            )],
            "tenantId and clientId go together: write both, or neither",
        ),
        if_present(
            "clientSecret",
            "!has(self.serviceAccountName)",
            "clientSecret and serviceAccountName are two ways to prove the same application: \
             write one of them",
        ),
        if_present(
            "managedIdentity",
            "!(has(self.tenantId) || has(self.clientId) || has(self.clientSecret) || \
             has(self.serviceAccountName))",
            "managedIdentity stands alone: remove it, or remove tenantId, clientId, clientSecret \
             and serviceAccountName",
        ),
    ];
    for field in ["clientSecret", "serviceAccountName"] {
        rules.push(if_present(
            field,
            "(has(self.tenantId) && has(self.clientId))",
            &format!("{field} needs tenantId and clientId: whose application is it?"),
        ));
    }
    rules
}

const NAME_OF_SA: &str = "write the name of a ServiceAccount of the same namespace";
const NAME_NOT_SECRET: &str = "envVar is the NAME of a variable, not the secret: write a name such \
    as AZURE_KC_CLIENT_SECRET (letters, digits and underscores, at most 128)";

pub(super) fn client_secret() -> Vec<ValidationRule> {
    // What a variable's name never looks like, though its letters would do: an AWS access key id,
    // hexadecimal digits, and random text of all three kinds of letters without an underscore.
    let secret_like = [
        matches("envVar", "(AKIA|ASIA)[A-Z0-9]{16}"),
        matches("envVar", "[0-9a-fA-F]{32,}"),
        format!(
            "({} && self.envVar.matches('[a-z]') && self.envVar.matches('[A-Z]') && \
             self.envVar.matches('[0-9]'))",
            matches("envVar", "[A-Za-z0-9]{28,}")
        ),
    ]
    .join(" || ");
    let name = matches("envVar", "[A-Za-z_][A-Za-z0-9_]{0,127}");
    vec![
        rule(
            "has(self.envVar) != has(self.secretRef)",
            "",
            "write exactly one of envVar (the NAME of a variable of the operator) and secretRef \
             (name and key of a Secret)",
        ),
        if_present(
            "envVar",
            &format!("({name} && !({secret_like}))"),
            NAME_NOT_SECRET,
        ),
        if_present(
            "expiresOn",
            &is_date("expiresOn"),
            "write the day the secret expires as YYYY-MM-DD",
        ),
    ]
}

pub(super) fn secret_ref() -> Vec<ValidationRule> {
    vec![
        rule(
            matches("name", OBJECT_NAME),
            "name",
            "write the name of a Secret of the same namespace, not its value",
        ),
        rule(
            matches("key", "[A-Za-z0-9._-]{1,253}"),
            "key",
            "write the key within the Secret's data, not its value",
        ),
    ]
}

pub(super) fn managed_identity() -> Vec<ValidationRule> {
    vec![
        rule(
            "[has(self.clientId), has(self.objectId), has(self.resourceId)]\
             .filter(named, named).size() <= 1",
            "",
            "write at most one of clientId, objectId and resourceId; none means the \
             system-assigned identity",
        ),
        if_present(
            "clientId",
            &matches("clientId", GUID),
            "write the GUID of the identity: az identity show --query clientId",
        ),
        if_present(
            "objectId",
            &matches("objectId", GUID),
            "write the GUID of the identity: az identity show --query principalId",
        ),
        if_present(
            "resourceId",
            &matches("resourceId", IDENTITY_RESOURCE),
            "write the resource id of the identity: az identity show --query id",
        ),
    ]
}

/// A day of the calendar, decided without `timestamp()`, whose error would repeat the value.
fn is_date(field: &str) -> String {
    let form = matches(field, "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])");
    let never = format!("self.{field}.matches('-(02-3[01]|(04|06|09|11)-31)$')");
    let year = format!("int(self.{field}.substring(0, 4))");
    format!(
        "({form} && !{never} && (!self.{field}.endsWith('-02-29') || \
         ({year} % 4 == 0 && ({year} % 100 != 0 || {year} % 400 == 0))))"
    )
}
