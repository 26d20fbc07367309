//! The rules of the object, one file per block. Every rule stands on the parent of the field it
//! is about (see [`super::rule`]).

mod aws;
mod azure;
mod common;
mod gcp;
mod import;
mod timing;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, ValidationRule,
};

/// `ServiceAccounts` and Secrets are named as DNS subdomains.
const OBJECT_NAME: &str = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?";

pub(super) fn attach(root: &mut JSONSchemaProps) {
    let blocks: [(&str, Vec<ValidationRule>); 12] = [
        ("", common::root()),
        ("spec", common::spec()),
        ("spec", azure::spec()),
        ("spec.azure", azure::block()),
        ("spec.azure.clientSecret", azure::client_secret()),
        ("spec.azure.clientSecret.secretRef", azure::secret_ref()),
        ("spec.azure.managedIdentity", azure::managed_identity()),
        ("spec", aws::spec()),
        ("spec.aws", aws::block()),
        ("spec", gcp::spec()),
        ("spec.gcp", gcp::block()),
        ("spec.verify", timing::verify()),
    ];
    let more = [
        ("spec.masterKey", timing::master_key()),
        ("spec", import::spec()),
        ("spec.masterKey.importFrom.secretRef", azure::secret_ref()),
        ("spec", timing::session()),
    ];
    for (path, rules) in blocks.into_iter().chain(more) {
        if let Some(schema) = super::at(root, path) {
            schema
                .x_kubernetes_validations
                .get_or_insert_with(Vec::new)
                .extend(rules);
        }
    }
}
