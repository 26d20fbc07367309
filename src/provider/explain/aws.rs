//! What mends it in AWS.

use crate::api::Reason;

pub const fn command(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::AccessDenied => {
            "aws kms create-grant --region '<region>' --key-id '<key ARN>' --grantee-principal \
             '<role ARN>' --operations Encrypt Decrypt DescribeKey"
        }
        Reason::KeyDisabled => "aws kms enable-key --region '<region>' --key-id '<key ARN>'",
        Reason::KeyNotFound => "aws kms list-aliases --region '<region>'",
        Reason::KeyUnusable => {
            "aws kms cancel-key-deletion --region '<region>' --key-id '<key ARN>'"
        }
        Reason::InvalidKeyRef => {
            "aws kms describe-key --region '<region>' --key-id '<id or alias>' --query \
             KeyMetadata.Arn --output text"
        }
        Reason::CredentialNotFound => "kubectl explain tenantkms.spec.aws",
        Reason::CredentialRejected => "aws sts get-caller-identity --region '<region>'",
        Reason::NotAllowed => {
            "aws iam update-assume-role-policy --role-name '<role>' --policy-document '<only with \
             the external id>'"
        }
        Reason::IdentityUnavailable => {
            "aws eks list-pod-identity-associations --cluster-name '<cluster>'"
        }
        Reason::Unreachable => "curl --verbose 'https://kms.<region>.amazonaws.com/'",
        Reason::Throttled => {
            "aws service-quotas list-service-quotas --region '<region>' --service-code 'kms'"
        }
        _ => return None,
    })
}
