//! Cloud KMS's answers; cloud.google.com/kms/docs/reference/rest. A refusal counts as one only in the
//! form of Google's APIs and about this key: a proxy's 403 is nobody's no.

use super::api::{code, common, is_account_gone, is_denied};
use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::gcp::subject::{Base, Subject, reach};
use crate::provider::gcp::transport::KMS;
use crate::provider::gcp::wire::ApiError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Encrypt,
    Decrypt,
}

impl Operation {
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }
}

/// What an answer that is no success means. `seen` is the machine's service account.
pub fn kms(
    operation: Operation,
    answer: &Answer,
    subject: &Subject,
    seen: Option<&str>,
) -> Failure {
    let error = ApiError::of(answer);
    let failure = error
        .as_ref()
        .and_then(|error| refused(operation, answer.status, error, subject, seen))
        .unwrap_or_else(|| common(answer.status, error.as_ref(), KMS, subject));
    failure
        .with_code(code(error.as_ref()))
        .with_retry_after(answer.retry_after())
}

/// What Cloud KMS says of the key; `None` for all that any API may say.
fn refused(
    operation: Operation,
    status: u16,
    error: &ApiError,
    subject: &Subject,
    seen: Option<&str>,
) -> Option<Failure> {
    let key = &subject.key.id;
    match (status, error.status.as_str()) {
        (403, _) if is_denied(error, "cloudkms.") => Some(Failure::denial(
            Reason::AccessDenied,
            format!(
                "{} may not {} with key {key}, or the key is not there. Check with its owner whether \
                 that is meant; the role is given by: {}",
                subject.who.describe(),
                operation.verb(),
                subject.grant_key(seen)
            ),
        )),
        (404, "NOT_FOUND") => Some(Failure::denial(
            Reason::KeyNotFound,
            format!(
                "there is no key {key}, or not that version of it. Check the name with its owner: {}",
                subject.describe_key()
            ),
        )),
        // The customer's own account, disabled or deleted; the platform's is the platform's fault.
        (401, _) if is_account_gone(error) => {
            let email = subject.who.impersonates.as_deref()?;
            Some(Failure::denial(
                Reason::AccessDenied,
                format!(
                    "service account {email} is disabled or deleted. Check with its owner whether that \
                     is meant; it is enabled by: gcloud iam service-accounts enable '{email}'"
                ),
            ))
        }
        (400, "FAILED_PRECONDITION") => version_state(error, subject)
            .or_else(|| (operation == Operation::Encrypt).then(|| unusable(subject))),
        (400, "INVALID_ARGUMENT") if error.message.contains("crc32c") => Some(changed_on_the_way()),
        (400, "INVALID_ARGUMENT") if operation == Operation::Encrypt => Some(unusable(subject)),
        (400, "INVALID_ARGUMENT") => Some(does_not_open(subject)),
        _ => None,
    }
}

/// `PreconditionFailure` names a version of this key and its state; cloud.google.com/kms/docs/key-states.
/// The states on the way to being enabled are no denial: nothing was taken away.
fn version_state(error: &ApiError, subject: &Subject) -> Option<Failure> {
    let (kind, version) = error.violations.iter().find_map(|(kind, name)| {
        let version = subject.key.version_of(name)?;
        Some((kind.as_str(), version))
    })?;
    let named = format!("version {version} of key {}", subject.key.id);
    match kind {
        "KEY_DISABLED" => Some(Failure::denial(
            Reason::KeyDisabled,
            format!(
                "{named} is disabled. Check with its owner whether that is meant; it is enabled by: {}",
                subject.version("enable", version)
            ),
        )),
        "KEY_DESTROY_SCHEDULED" => Some(Failure::denial(
            Reason::KeyNotFound,
            format!(
                "{named} is scheduled to be destroyed, and what it wraps is then lost for good. Check \
                 with its owner now; it is brought back by: {} && {}",
                subject.version("restore", version),
                subject.version("enable", version)
            ),
        )),
        "KEY_DESTROYED" => Some(Failure::denial(
            Reason::KeyNotFound,
            format!(
                "{named} is destroyed, and cannot be brought back. Check with its owner which version \
                 is left: {}",
                subject.describe_key()
            ),
        )),
        _ => None,
    }
}

/// No version of the key can encrypt as it must.
fn unusable(subject: &Subject) -> Failure {
    Failure::misconfigured(
        Reason::KeyUnusable,
        format!(
            "key {} cannot encrypt: its purpose must be ENCRYPT_DECRYPT (symmetric), and its primary \
             version enabled. Check both with its owner: {} --format 'value(purpose,primary.state)'",
            subject.key.id,
            subject.describe_key()
        ),
    )
}

fn does_not_open(subject: &Subject) -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "Cloud KMS cannot decrypt what is stored: another key made it, another tenant's it is, or \
             it was changed. Nothing is concluded from it. Check that this is the key that wrapped it, \
             and not one made anew under its name: {}",
            subject.describe_key()
        ),
    )
    .with_bytes_refused()
}

/// The checksums of the two ends differ, in either direction.
pub fn changed_on_the_way() -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "a request to {KMS} or its answer was changed on the way: a CRC32C does not fit. Nothing is \
             concluded from it, and it is tried again. Check what stands between, such as a proxy that \
             inspects TLS: {}",
            reach(KMS)
        ),
    )
}

/// A record names a version as no version of Cloud KMS is named.
pub fn foreign_version(subject: &Subject) -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "what is stored was not wrapped by Cloud KMS: nothing was sent, and nothing is concluded \
             from it. Check the key of the tenant, used by {}: {}",
            match subject.who.base {
                Base::Machine => "the operator's own identity",
                Base::Federated { .. } => "the tenant's ServiceAccount",
            },
            subject.describe_key()
        ),
    )
    .with_bytes_refused()
}
