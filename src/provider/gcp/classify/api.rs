//! What the front end of every Google API may say before the API itself is asked: the token, the
//! project that is billed, quota, perimeters. `google.api.ErrorReason` lists the reasons. All of it is
//! about the caller's project or the platform's own credential, so none of it is a denial.

use crate::api::Reason;
use crate::credentials::quoted;
use crate::provider::Failure;
use crate::provider::gcp::subject::{Subject, reach};
use crate::provider::gcp::transport::KMS;
use crate::provider::gcp::wire::ApiError;

/// The form in which a permission of `service` (as `cloudkms.`) is denied: with `IAM_PERMISSION_DENIED`,
/// or as older answers are, without any detail. Every other reason of a 403 has a detail of its own.
pub fn is_denied(error: &ApiError, service: &str) -> bool {
    let bare = !error.detailed
        && (error.message.starts_with("Permission '")
            || error
                .message
                .starts_with("The caller does not have permission"));
    let named = error.reason.as_deref() == Some("IAM_PERMISSION_DENIED")
        && error
            .permission
            .as_ref()
            .is_none_or(|permission| permission.starts_with(service));
    error.status == "PERMISSION_DENIED" && (named || bare)
}

/// The account that a token is for is disabled or deleted.
pub fn is_account_gone(error: &ApiError) -> bool {
    error.status == "UNAUTHENTICATED" && error.reason.as_deref() == Some("ACCOUNT_STATE_INVALID")
}

/// The failure that holds for every API; `host` is the one that answered.
pub fn common(status: u16, error: Option<&ApiError>, host: &str, subject: &Subject) -> Failure {
    let Some(error) = error else {
        return match status {
            429 => throttled(host, None, subject),
            status => inconclusive(status, host, "not in the form of Google's APIs"),
        };
    };
    let reason = error.reason.as_deref().unwrap_or_default();
    match (status, error.status.as_str(), reason) {
        (429, _, _) => throttled(host, error.consumer.as_deref(), subject),
        (401, ..) => Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "{host} does not accept the token of {}. Check that this identity is there and \
                 enabled, and the clock of the operator's node: gcloud iam service-accounts list \
                 --filter 'disabled=true'",
                subject.who.describe()
            ),
        ),
        (403, _, "SERVICE_DISABLED") => {
            let project = error.consumer.as_deref().and_then(project);
            let or = if host == KMS {
                "; or spec.gcp.projectId names another project that is billed"
            } else {
                ""
            };
            Failure::misconfigured(
                Reason::CredentialRejected,
                format!(
                    "{host} is not enabled in project {}, which is billed for the calls of {}. That \
                     project's owner enables it by: gcloud services enable {} --project {}{or}",
                    project.unwrap_or("of that identity"),
                    subject.who.describe(),
                    quoted(host),
                    quoted(project.unwrap_or("<project>"))
                ),
            )
        }
        (403, _, "USER_PROJECT_DENIED") => {
            let project = subject.billed.as_deref().unwrap_or("<project>");
            Failure::misconfigured(
                Reason::CredentialRejected,
                format!(
                    "{} may not have project {project} billed (spec.gcp.projectId). Leave that out, or \
                     its owner allows it by: gcloud projects add-iam-policy-binding {} --role \
                     'roles/serviceusage.serviceUsageConsumer' --member '<member>'",
                    subject.who.describe(),
                    quoted(project)
                ),
            )
        }
        (403, _, "ACCESS_TOKEN_SCOPE_INSUFFICIENT") => Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "the token of {} lacks the scope cloud-platform. Check the access scopes of the \
                 nodes: gcloud container node-pools describe '<pool>' --cluster '<cluster>' --location \
                 '<location>' --format 'value(config.oauthScopes)'",
                subject.who.describe()
            ),
        ),
        (403, _, "SECURITY_POLICY_VIOLATED") => Failure::transient(
            Reason::Unreachable,
            format!(
                "a service perimeter (VPC Service Controls) refuses the operator's call of {host}. \
                 Check its access levels and ingress rules: gcloud access-context-manager perimeters \
                 list"
            ),
        ),
        (403, _, "BILLING_DISABLED" | "CONSUMER_SUSPENDED" | "CONSUMER_INVALID") => {
            unpaid(host, error, subject)
        }
        (status, ..) => inconclusive(status, host, "neither a success nor a known refusal"),
    }
}

/// `projects/NUMBER`, when it is that.
fn project(consumer: &str) -> Option<&str> {
    consumer.strip_prefix("projects/").filter(|id| {
        (1..=94).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b))
    })
}

/// The project that is billed is closed, out of money, or no project.
fn unpaid(host: &str, error: &ApiError, subject: &Subject) -> Failure {
    let billed = error.consumer.as_deref().and_then(project);
    let billed = billed.or(subject.billed.as_deref());
    Failure::transient(
        Reason::ProviderError,
        format!(
            "{host} serves no call that is billed to project {}, as those of {} are: it is suspended or \
             deleted, or has no billing account. Nothing is concluded from it. Check both with that \
             project's owner: gcloud projects describe {project} && gcloud billing projects describe \
             {project}",
            billed.unwrap_or("of that identity"),
            subject.who.describe(),
            project = quoted(billed.unwrap_or("<project>")),
        ),
    )
}

fn throttled(host: &str, consumer: Option<&str>, subject: &Subject) -> Failure {
    let billed = consumer.and_then(project).or(subject.billed.as_deref());
    Failure::transient(
        Reason::Throttled,
        format!(
            "{host} throttles requests. Check what else uses the project that is billed, on its page \
             https://console.cloud.google.com/iam-admin/quotas, or choose a longer spec.verify.interval; \
             whether the service is enabled there is said by: gcloud services list --enabled --project {} \
             --filter {}",
            quoted(billed.unwrap_or("<billed project>")),
            quoted(&format!("config.name={host}"))
        ),
    )
}

fn inconclusive(status: u16, host: &str, what: &str) -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "{host} answered with status {status}, {what}: nothing is concluded from it. Check its \
             health and what stands between, such as a proxy: {}",
            reach(host)
        ),
    )
}

/// The word that tells an error apart, for `Failure.code`: Google's are capital letters, `_` and digits.
pub fn code(error: Option<&ApiError>) -> Option<&str> {
    let error = error?;
    let violation = error.violations.first().map(|(kind, _)| kind.as_str());
    let code = error
        .reason
        .as_deref()
        .or(violation)
        .unwrap_or(&error.status);
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    code.bytes().all(plain).then_some(code)
}
