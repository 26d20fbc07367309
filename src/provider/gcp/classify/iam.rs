//! The answers of IAM Service Account Credentials (`generateAccessToken`). That the customer's service
//! account may no longer be impersonated is the customer's no, as is that it is disabled or gone.

use super::api::{code, common, is_denied};
use crate::api::Reason;
use crate::credentials::quoted;
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::gcp::subject::Subject;
use crate::provider::gcp::transport::IAM;
use crate::provider::gcp::wire::ApiError;

/// What an answer that is no token means. `seen` is the machine's service account.
pub fn iam(answer: &Answer, subject: &Subject, seen: Option<&str>) -> Failure {
    let error = ApiError::of(answer);
    let email = subject.who.impersonates.as_deref().unwrap_or_default();
    let failure = match &error {
        Some(error) if answer.status == 403 && is_denied(error, "iam.") => Failure::denial(
            Reason::AccessDenied,
            format!(
                "impersonation is denied: service account {email} may not be impersonated by the \
                 identity that is to use it, or is not there. Check with its owner whether that is \
                 meant; it is allowed by: {}",
                subject.grant_impersonation(seen)
            ),
        ),
        Some(error) if answer.status == 404 && error.status == "NOT_FOUND" => Failure::denial(
            Reason::AccessDenied,
            format!(
                "impersonation is denied: there is no service account {email}. Check \
                 spec.gcp.impersonateServiceAccount with its owner: gcloud iam service-accounts \
                 describe {}",
                quoted(email)
            ),
        ),
        Some(error) if answer.status == 400 && is_disabled(error) => Failure::denial(
            Reason::AccessDenied,
            format!(
                "impersonation is denied: service account {email} is disabled. Check with its owner \
                 whether that is meant; it is enabled by: gcloud iam service-accounts enable {}",
                quoted(email)
            ),
        ),
        error => common(answer.status, error.as_ref(), IAM, subject),
    };
    failure
        .with_code(code(error.as_ref()))
        .with_retry_after(answer.retry_after())
}

/// No other precondition of this call is about the account.
fn is_disabled(error: &ApiError) -> bool {
    error.status == "FAILED_PRECONDITION"
        && error.message.starts_with("Service account ")
        && error.message.contains(" is disabled")
}
