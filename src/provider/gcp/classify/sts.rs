//! The Security Token Service's answers: OAuth errors (RFC 6749, RFC 8693), as described in
//! cloud.google.com/iam/docs/troubleshooting-workload-identity-federation.

use serde_json::from_slice;

use super::api::{code, common};
use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::gcp::subject::Subject;
use crate::provider::gcp::transport::STS;
use crate::provider::gcp::wire::{ApiError, OauthError};

/// What an answer that is no token means. `issuer` is the one of the token that was shown.
///
/// `invalid_target`: "the pool or provider is disabled or deleted or … doesn't exist".
/// `unauthorized_client`: "rejected by the attribute condition". Both are the customer's switches, and
/// denials. `invalid_grant` is one word for a token out of its time, a signature that cannot be
/// verified, another issuer or audience: the platform's fault as well as the customer's, so no denial.
pub fn sts(answer: &Answer, subject: &Subject, issuer: &str) -> Failure {
    let error = from_slice::<OauthError>(answer.body()).ok();
    let word = error.as_ref().map(|error| error.error.as_str());
    // What is in front of it speaks as in front of every API.
    let api = ApiError::of(answer);
    let refused = matches!(answer.status, 400 | 401 | 403);
    let who = subject.who.base.account().unwrap_or_default();
    let failure = match word {
        Some("invalid_target") if refused => Failure::denial(
            Reason::AccessDenied,
            format!(
                "the workload identity provider of spec.gcp.workloadIdentityProvider, or its pool, is \
                 disabled, deleted or not there. Check with its owner whether that is meant: {}; {}. \
                 The one that says disabled is enabled by: {}; {}. The one that says DELETED comes back \
                 by: {}; {}",
                subject.provider("describe", ""),
                subject.pool("describe", ""),
                subject.provider("update-oidc", " --no-disabled"),
                subject.pool("update", " --no-disabled"),
                subject.provider("undelete", ""),
                subject.pool("undelete", "")
            ),
        ),
        Some("unauthorized_client") if refused => Failure::denial(
            Reason::AccessDenied,
            format!(
                "the workload identity provider's attribute condition rejects {who}. Check the \
                 condition with its owner: {}",
                subject.provider("describe", " --format 'value(attributeCondition)'")
            ),
        ),
        Some("invalid_grant") if refused => Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "the workload identity provider does not accept the token of {who}, whose issuer is \
                 {issuer}. Check the provider's issuer and allowed audiences, that the issuer's keys \
                 can be read from the internet or are uploaded there, and the clocks: {}",
                subject.provider("describe", "")
            ),
        ),
        Some(_) if refused => Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "{STS} refuses the exchange of a token of {who}. Look the code up and check the \
                 provider: {}",
                subject.provider("describe", "")
            ),
        ),
        _ => common(answer.status, api.as_ref(), STS, subject),
    };
    // OAuth's words are small letters and `_`; what a secret looks like is none.
    let plain = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    failure
        .with_code(word.filter(plain).or(code(api.as_ref())))
        .with_retry_after(answer.retry_after())
}
