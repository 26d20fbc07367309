//! Fields that are not fields: places where people paste credentials, and names other products
//! use. They are declared so that the refusal can say what to write instead, and always refused,
//! so that nothing written there is ever stored or parsed.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, ValidationRule,
};

use super::rule::rule;

/// A private key or a service-account file still gets its message and not "too long".
const PASTED_TEXT: i64 = 65_536;

const CLIENT_SECRET: &str = "credentials are never written here: write clientSecret with envVar \
    (the NAME of a variable of the operator) or secretRef (name and key of a Secret)";
const NO_CERTIFICATE: &str = "client certificates are not supported and never written here: use \
    clientSecret, managedIdentity or serviceAccountName";
const NO_TOKEN: &str =
    "tokens are never written here: the operator fetches its own with the identity named here";
const AWS_ROLE: &str = "AWS access keys are never written here: write roleArn, a role of the \
    customer that the operator or serviceAccountName may assume";
const GCP_KEY: &str = "service-account keys are never written here: write \
    impersonateServiceAccount, or workloadIdentityProvider with serviceAccountName";
const SECRET_NAMED: &str =
    "the value of a secret is never written here: name the Secret by name and key";
const KEY_REF: &str = "part of kmsKeyRef: write the whole key there, as the provider writes it";
const NO_SECRET: &str = "credentials are never written here: provider and kmsKeyRef are enough \
    for the operator's own identity; others stand in the block of the provider";

/// Parent, names, what to write instead. Short on purpose: `kubectl explain` lists them all.
const REFUSED: &[(&str, &[&str], &str)] = &[
    ("spec", &["keyName", "keyVersion"], KEY_REF),
    (
        "spec",
        &["vaultUrl"],
        "part of kmsKeyRef; may be repeated as azure.vaultUrl",
    ),
    ("spec", &["tenantId"], "write azure.tenantId"),
    ("spec", &["clientId"], "write azure.clientId"),
    (
        "spec",
        &["clientSecret"],
        "write azure.clientSecret: envVar or secretRef, never the value",
    ),
    ("spec", &["region"], "write aws.region"),
    ("spec", &["roleArn"], "write aws.roleArn"),
    ("spec", &["credentials", "password"], NO_SECRET),
    (
        "spec.azure",
        &["clientSecretValue", "password"],
        CLIENT_SECRET,
    ),
    (
        "spec.azure",
        &["clientSecretEnvVar"],
        "write clientSecret: envVar",
    ),
    (
        "spec.azure",
        &["clientCertificate", "privateKey"],
        NO_CERTIFICATE,
    ),
    ("spec.azure", &["accessToken"], NO_TOKEN),
    ("spec.azure", &["keyName", "keyVersion"], KEY_REF),
    (
        "spec.azure.clientSecret",
        &["value", "password"],
        CLIENT_SECRET,
    ),
    (
        "spec.azure.clientSecret.secretRef",
        &["value"],
        SECRET_NAMED,
    ),
    (
        "spec.azure.clientSecret.secretRef",
        &["namespace"],
        "the Secret is always of the same namespace: leave this out",
    ),
    (
        "spec.aws",
        &["accessKeyId", "secretAccessKey", "sessionToken", "profile"],
        AWS_ROLE,
    ),
    ("spec.aws", &["webIdentityToken"], NO_TOKEN),
    (
        "spec.gcp",
        &[
            "serviceAccountJson",
            "serviceAccountKey",
            "credentialsJson",
            "privateKey",
        ],
        GCP_KEY,
    ),
    ("spec.gcp", &["accessToken"], NO_TOKEN),
];

pub(super) fn declare(root: &mut JSONSchemaProps) {
    for (parent, names, instead) in REFUSED {
        let Some(schema) = super::at(root, parent) else {
            continue;
        };
        for name in *names {
            let properties = schema.properties.get_or_insert_with(BTreeMap::new);
            properties.insert((*name).into(), any_scalar());
            let rules = schema.x_kubernetes_validations.get_or_insert_with(Vec::new);
            rules.push(refusal(name, instead));
        }
    }
}

/// Not `type: string`: server-side apply answers a value of another type with that value, and a
/// service-account file pasted as YAML is a map. A schema without a type is not compared there.
fn any_scalar() -> JSONSchemaProps {
    JSONSchemaProps {
        description: Some("Not a field: refused, with what to write instead.".into()),
        max_length: Some(PASTED_TEXT),
        x_kubernetes_int_or_string: Some(true),
        ..JSONSchemaProps::default()
    }
}

fn refusal(name: &str, instead: &str) -> ValidationRule {
    // CEL reserves the word `namespace`; the API server escapes it this way.
    let escaped = if name == "namespace" {
        "__namespace__"
    } else {
        name
    };
    rule(format!("!has(self.{escaped})"), name, instead)
}
