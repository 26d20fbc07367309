//! STS's answers when a customer's role is assumed; docs.aws.amazon.com, AWS STS API Reference, "AssumeRole",
//! "AssumeRoleWithWebIdentity" and "Common Errors". Only the role's own no is a denial: never the operator's
//! credential, a token out of its time, or a signature that could not be verified.

use super::kms::{clock, endpoint, is_throttling};
use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::aws::said::Said;
use crate::provider::aws::subject::{Subject, Who, quoted, reach, role_name};

/// What an answer that is no session means.
pub fn sts(said: &Said, subject: &Subject) -> Failure {
    let host = subject.sts_host();
    let failure = match (said.status, said.code()) {
        (_, code) if is_throttling(code) => throttled(subject),
        (429, _) => throttled(subject),
        (500.., _) => inconclusive(said.status, subject),
        (403, "AccessDenied") if said.is_of_endpoint() => endpoint(&host),
        (403, "AccessDenied") if is_of_operator(said, subject) => Failure::misconfigured(
            Reason::IdentityUnavailable,
            format!(
                "the policies of the operator's own role do not allow sts:AssumeRole on {}; its \
                 owner was not asked. Add it to them; who asks is told by: {}",
                subject.who.describe(),
                subject.who_am_i()
            ),
        ),
        (403, "AccessDenied") => denied(subject),
        // The provider itself was taken out of the customer's account: nothing it signs is trusted.
        (400, "InvalidIdentityToken") if said.begins("No OpenIDConnect provider found") => {
            no_provider(subject)
        }
        // The audience never changes here, so its provider lost it.
        (400, "InvalidIdentityToken") if said.begins("Incorrect token audience") => {
            no_audience(subject)
        }
        (400 | 403, "SignatureDoesNotMatch" | "RequestExpired")
            if said.begins("Signature expired") || said.begins("Signature not yet current") =>
        {
            clock(&host)
        }
        (400 | 403, "InvalidIdentityToken" | "ExpiredTokenException" | "IDPRejectedClaim")
            if matches!(subject.who, Who::ServiceAccount { .. }) =>
        {
            token(subject)
        }
        (400 | 403, "RegionDisabledException") => Failure::misconfigured(
            Reason::IdentityUnavailable,
            format!(
                "STS is not active for the region {} in the role's account. Its administrator \
                 activates it by: aws account enable-region --region-name '{0}'",
                subject.key.region.name
            ),
        ),
        (
            400 | 403,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "SignatureDoesNotMatch",
        ) => Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "{host} does not accept the operator's own credential, with which it would assume \
                 {}. Check the identity of the operator's pod, and that it belongs to the partition \
                 of the key: {}",
                subject.who.describe(),
                subject.who_am_i()
            ),
        ),
        (status, _) => inconclusive(status, subject),
    };
    failure
        .with_code(said.code.as_deref())
        .with_request_id(said.request_id.as_deref())
        .with_retry_after(said.retry_after)
}

/// Whether the operator's own policies say no before the role is asked.
pub fn is_of_operator(said: &Said, subject: &Subject) -> bool {
    matches!(subject.who, Who::Role { .. }) && said.is_of_caller()
}

fn denied(subject: &Subject) -> Failure {
    let what = match &subject.who {
        Who::ServiceAccount { account, .. } => format!(
            "its trust policy does not name ServiceAccount {account} of this cluster, or no longer"
        ),
        Who::Role { external_id, .. } => format!(
            "it does not exist, its trust policy does not name the operator with the external id \
             {external_id}, or no longer; or the operator's own role may not assume it"
        ),
        Who::Own => "it is not trusted".to_owned(),
    };
    Failure::denial(
        Reason::AccessDenied,
        format!(
            "STS refuses {}: {what}. KMS was not asked. Check the role's trust policy; its owner \
             puts this one in place of the whole policy by: {}",
            subject.who.describe(),
            subject.trust_role()
        ),
    )
}

fn no_provider(subject: &Subject) -> Failure {
    Failure::denial(
        Reason::AccessDenied,
        format!(
            "STS refuses {}: its account has no OpenID Connect provider for the cluster's issuer, \
             or no longer. KMS was not asked. The issuer is told by `kubectl get --raw \
             '/.well-known/openid-configuration'`; the account's owner adds it by: aws iam \
             create-open-id-connect-provider --url '<issuer>' --client-id-list '{}'",
            subject.who.describe(),
            crate::provider::aws::means::AUDIENCE
        ),
    )
}

fn no_audience(subject: &Subject) -> Failure {
    let audience = crate::provider::aws::means::AUDIENCE;
    Failure::denial(
        Reason::AccessDenied,
        format!(
            "STS refuses {}: the OpenID Connect provider of its account does not take tokens for \
             {audience}, or no longer. KMS was not asked. The account's owner adds it by: aws iam \
             add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {} --client-id \
             '{audience}'",
            subject.who.describe(),
            quoted(&subject.oidc_provider(
                subject.who.role().unwrap_or_default(),
                "<issuer without https://>"
            ))
        ),
    )
}

fn token(subject: &Subject) -> Failure {
    Failure::misconfigured(
        Reason::CredentialRejected,
        format!(
            "{} could not verify the token for {}: it reads the cluster's keys at the token's \
             issuer, and the token must be within its time and for the audience that the account's \
             OpenID Connect provider names. Check that the issuer can be read from the internet, \
             and the provider: aws iam list-open-id-connect-providers",
            subject.sts_host(),
            subject.who.describe()
        ),
    )
}

fn throttled(subject: &Subject) -> Failure {
    Failure::transient(
        Reason::Throttled,
        format!(
            "{} throttles requests. Check what else asks for sessions of the operator's account: \
             aws cloudtrail lookup-events --region '{}' --lookup-attributes \
             'AttributeKey=EventName,AttributeValue=AssumeRole'",
            subject.sts_host(),
            subject.key.region.name
        ),
    )
}

fn inconclusive(status: u16, subject: &Subject) -> Failure {
    let host = subject.sts_host();
    Failure::transient(
        Reason::ProviderError,
        format!(
            "{host} answered with status {status} in no form from which anything can be concluded \
             when {} was to be assumed. Check its health and what stands between, such as a proxy: \
             {}",
            subject.who.describe(),
            reach(&host)
        ),
    )
}

/// The role was assumed with an external id that nobody gave out.
pub fn opens_to_anybody(subject: &Subject) -> Failure {
    let role = subject.who.role().unwrap_or_default();
    Failure::misconfigured(
        Reason::NotAllowed,
        format!(
            "role {role} can also be assumed with an external id that is not this tenant's, so any \
             other customer of the platform could have the operator use it (AWS calls this the \
             confused deputy). It is not used. Its owner puts a trust policy with the condition in \
             place of the whole one of {} by: {}",
            role_name(role),
            subject.trust_role()
        ),
    )
}
