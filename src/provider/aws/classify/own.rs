//! The operator's own identity: what gives it to the pod, and what STS says of it. None of it is a no: the
//! identity is the platform's own.

use super::kms::{clock, is_throttling};
use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::aws::said::Said;
use crate::provider::aws::subject::{self, Subject};

/// What it means that STS gives no session to the operator's own token.
pub fn web_identity(said: &Said, role: &str, subject: &Subject) -> Failure {
    let host = subject.sts_host();
    let failure = match (said.status, said.code()) {
        (_, code) if is_throttling(code) => Failure::transient(
            Reason::Throttled,
            format!(
                "{host} throttles requests for the operator's own role. Check what else uses it: \
                 aws cloudtrail lookup-events --lookup-attributes \
                 'AttributeKey=EventName,AttributeValue=AssumeRoleWithWebIdentity'"
            ),
        ),
        (400 | 403, _) if said.begins("Signature expired") => clock(&host),
        (400 | 403, code) if !code.is_empty() => Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "{host} gives the operator's own token no session of {role}, which AWS_ROLE_ARN \
                 names. Check the role's trust policy, the account's OpenID Connect provider and \
                 that the pod's token is renewed: aws iam get-role --role-name '{}' --query \
                 Role.AssumeRolePolicyDocument",
                subject::role_name(role)
            ),
        ),
        (status, _) => Failure::transient(
            Reason::ProviderError,
            format!(
                "{host} answered with status {status} in no known form when the operator's own \
                 role was to be assumed: nothing is concluded from it. Check its health and what \
                 stands between: {}",
                subject::reach(&host)
            ),
        ),
    };
    failure
        .with_code(said.code.as_deref())
        .with_request_id(said.request_id.as_deref())
        .with_retry_after(said.retry_after)
}

/// What an answer of the metadata service or of the Pod Identity agent means that is no credential.
pub fn metadata(answer: &Answer) -> Failure {
    let failure = match answer.status {
        404 => Failure::misconfigured(
            Reason::IdentityUnavailable,
            "the operator's pod has no identity in AWS: its node has no instance profile, and no \
             association of EKS Pod Identity names its ServiceAccount. Give it one: aws eks \
             create-pod-identity-association --cluster-name '<cluster>' --namespace '<namespace of \
             the operator>' --service-account '<the operator's>' --role-arn '<role>'",
        ),
        400..=403 => Failure::misconfigured(
            Reason::IdentityUnavailable,
            "what gives the operator's pod its identity in AWS refuses the request. Check that the \
             node's metadata service is enabled, and the association of EKS Pod Identity: aws eks \
             list-pod-identity-associations --cluster-name '<cluster>'",
        ),
        429 => Failure::transient(
            Reason::Throttled,
            "the node's metadata service throttles requests. Check what else on this node asks: \
             kubectl get pods --all-namespaces --field-selector 'spec.nodeName=<node>'",
        ),
        status => Failure::transient(
            Reason::IdentityUnavailable,
            format!(
                "what gives the operator's pod its identity in AWS answered with status {status}: \
                 {}",
                reach()
            ),
        ),
    };
    failure.with_retry_after(answer.retry_after())
}

/// What to check when it does not answer. A hop limit of 1, the default of instances, keeps pods away.
pub fn reach() -> &'static str {
    "the operator runs outside AWS, a network policy keeps it from the node's metadata service, or \
     the node answers to no pod. Check: aws ec2 modify-instance-metadata-options --instance-id \
     '<instance>' --http-tokens required --http-put-response-hop-limit 2"
}
