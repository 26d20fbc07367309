//! GCP: resource names of keys and identity providers, e-mail addresses of service accounts.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use super::super::rule::{if_present, matches, rule, rule_with_hints};
use super::OBJECT_NAME;

/// Old projects may belong to a domain: `example.com:name`.
const PROJECT: &str = r"([a-z0-9.-]{1,60}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]";

pub(super) fn spec() -> Vec<ValidationRule> {
    let written = matches(
        "kmsKeyRef",
        &format!(
            "projects/{PROJECT}/locations/[a-z0-9-]{{1,63}}/keyRings/[A-Za-z0-9_-]{{1,63}}/cryptoKeys/[A-Za-z0-9_-]{{1,63}}"
        ),
    );
    vec![rule_with_hints(
        format!("self.provider != 'gcp' || {written}"),
        "kmsKeyRef",
        &[
            (
                "self.kmsKeyRef.contains('/cryptoKeyVersions/')",
                "leave out /cryptoKeyVersions and the version: Cloud KMS chooses the primary one",
            ),
            (
                "self.kmsKeyRef.contains('cloudkms.googleapis.com')",
                "leave out everything in front of projects/",
            ),
            (
                "self.kmsKeyRef.startsWith('arn:')",
                "this has the form of an AWS key and provider is gcp: write provider: aws, or \
                 projects/P/locations/L/keyRings/R/cryptoKeys/K",
            ),
            (
                "self.kmsKeyRef.startsWith('https://')",
                "this has the form of an Azure key and provider is gcp: write provider: azure, or \
                 projects/P/locations/L/keyRings/R/cryptoKeys/K",
            ),
        ],
        "write projects/P/locations/L/keyRings/R/cryptoKeys/K: gcloud kms keys list --location L \
         --keyring R --format value(name)",
    )]
}

pub(super) fn block() -> Vec<ValidationRule> {
    vec![
        if_present(
            "impersonateServiceAccount",
            &matches(
                "impersonateServiceAccount",
                r"[a-z0-9][a-z0-9-]{0,62}@[a-z0-9.-]{1,100}\.gserviceaccount\.com",
            ),
            "write the e-mail address of a service account, NAME@PROJECT.iam.gserviceaccount.com",
        ),
        if_present(
            "projectId",
            &matches("projectId", PROJECT),
            "write the id of the project, not its name or number",
        ),
        if_present(
            "workloadIdentityProvider",
            &matches(
                "workloadIdentityProvider",
                "projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}",
            ),
            "write projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME: \
             gcloud iam workload-identity-pools providers describe prints it as name",
        ),
        if_present(
            "serviceAccountName",
            &matches("serviceAccountName", OBJECT_NAME),
            "write the name of a ServiceAccount of the same namespace; a GCP service account is \
             impersonateServiceAccount",
        ),
        rule(
            "has(self.workloadIdentityProvider) == has(self.serviceAccountName)",
            "",
            "workloadIdentityProvider and serviceAccountName go together: write both, or neither",
        ),
    ]
}
