//! AWS: ARNs of keys, aliases and roles.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use super::super::rule::{if_present, matches, rule, rule_with_hints};
use super::OBJECT_NAME;

const PARTITION: &str = "aws(-[a-z]{2,5}){0,3}";
const REGION: &str = "[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}";

pub(super) fn spec() -> Vec<ValidationRule> {
    let written = matches(
        "kmsKeyRef",
        &format!(
            "arn:{PARTITION}:kms:{REGION}:[0-9]{{12}}:(key/(mrk-)?[0-9a-f-]{{32,36}}|alias/[A-Za-z0-9/_-]{{1,250}})"
        ),
    );
    vec![
        rule_with_hints(
            format!(
                "self.provider != 'aws' || ({written} && !self.kmsKeyRef.contains(':alias/aws/'))"
            ),
            "kmsKeyRef",
            &[
                (
                    "self.kmsKeyRef.contains('alias/aws/')",
                    "a key managed by AWS cannot be shared with the platform: name a \
                     customer-managed key",
                ),
                (
                    "self.kmsKeyRef.startsWith('https://')",
                    "this has the form of an Azure key and provider is aws: write provider: \
                     azure, or the ARN of the key",
                ),
                (
                    "self.kmsKeyRef.startsWith('projects/')",
                    "this has the form of a GCP key and provider is aws: write provider: gcp, or \
                     the ARN of the key",
                ),
            ],
            "write the whole ARN of a key or alias, arn:aws:kms:REGION:ACCOUNT:key/ID or \
             arn:aws:kms:REGION:ACCOUNT:alias/NAME: aws kms describe-key --key-id ID --query \
             KeyMetadata.Arn",
        ),
        rule(
            format!(
                "self.provider != 'aws' || !has(self.aws) || !has(self.aws.region) || \
                 !({written}) || self.kmsKeyRef.contains(':kms:' + self.aws.region + ':')"
            ),
            "aws.region",
            "must be the region in the ARN of kmsKeyRef, or be left out",
        ),
    ]
}

pub(super) fn block() -> Vec<ValidationRule> {
    let role = format!(r"arn:{PARTITION}:iam::[0-9]{{12}}:role/[\w+=,.@/-]{{1,576}}");
    vec![
        if_present(
            "region",
            &matches("region", REGION),
            "write a region such as eu-central-1",
        ),
        if_present(
            "roleArn",
            &matches("roleArn", &role),
            "write the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME",
        ),
        if_present(
            "externalId",
            &matches("externalId", r"[\w+=,.@:/-]{2,}"),
            "an external id has 2 to 1224 letters, digits and + = , . @ : / -",
        ),
        if_present(
            "externalId",
            "(has(self.roleArn) && !has(self.serviceAccountName))",
            "externalId needs roleArn, and has no meaning with serviceAccountName",
        ),
        if_present(
            "serviceAccountName",
            &matches("serviceAccountName", OBJECT_NAME),
            "write the name of a ServiceAccount of the same namespace",
        ),
        if_present(
            "serviceAccountName",
            "has(self.roleArn)",
            "serviceAccountName needs roleArn: which role does it assume?",
        ),
    ]
}
