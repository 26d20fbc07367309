//! KMS's refusals, in the JSON protocol's form; docs.aws.amazon.com, AWS KMS API Reference, "Common Errors" and the
//! errors of Encrypt and Decrypt.

use serde_json::json;

use crate::aws::access::No;
use crate::aws::caller::Caller;
use crate::aws::key::Status;
use crate::aws::region::account;
use crate::aws::sigv4::Unsigned;
use crate::crypto::uuid;
use crate::http::Answer;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    kind: &'static str,
    message: String,
}

/// A refusal that the client has caused; KMS answers all of them with 400.
fn refusal(kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        status: 400,
        kind,
        message: message.into(),
    }
}

impl Refusal {
    pub(crate) fn answer(self) -> Answer {
        let body = json!({ "__type": self.kind, "message": self.message });
        Answer::new(self.status, "application/x-amz-json-1.1", body.to_string())
    }
}

/// The headers of every answer.
pub(crate) fn finish(answer: Answer) -> Answer {
    answer.with("x-amzn-requestid", uuid()).with(
        "cache-control",
        "no-cache, no-store, must-revalidate, private",
    )
}

pub(crate) fn unsigned(why: Unsigned) -> Refusal {
    match why {
        Unsigned::Missing => refusal(
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ),
        Unsigned::Incomplete(message) => refusal("IncompleteSignatureException", message),
        Unsigned::Wrong(message) => refusal("InvalidSignatureException", message),
        Unsigned::UnknownKey => refusal(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        Unsigned::TokenExpired => refusal(
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
    }
}

pub(crate) fn unknown_operation() -> Refusal {
    refusal("UnknownOperationException", "")
}

pub(crate) fn serialization() -> Refusal {
    refusal("SerializationException", "")
}

pub(crate) fn validation(message: impl Into<String>) -> Refusal {
    refusal("ValidationException", message)
}

pub(crate) fn denied(caller: &Caller, action: &str, resource: &str, why: No) -> Refusal {
    let who = caller.arn();
    let rest = match why {
        No::Identity => format!(
            "on resource: {resource} because no identity-based policy allows the {action} action"
        ),
        No::Resource if caller.account() == account(resource) => format!(
            "on resource: {resource} because no resource-based policy allows the {action} action"
        ),
        // From another account nobody learns whether the key is there.
        No::Resource => "on this resource because the resource does not exist in this Region, no resource-based \
                         policies allow access, or a resource-based policy explicitly denies access"
            .to_owned(),
    };
    refusal(
        "AccessDeniedException",
        format!("User: {who} is not authorized to perform: {action} {rest}"),
    )
}

pub(crate) fn no_key(arn: &str) -> Refusal {
    refusal("NotFoundException", format!("Key '{arn}' does not exist"))
}

pub(crate) fn no_alias(arn: &str) -> Refusal {
    refusal("NotFoundException", format!("Alias {arn} is not found."))
}

/// The ARN is of another region.
pub(crate) fn invalid_arn(region: &str) -> Refusal {
    refusal("NotFoundException", format!("Invalid arn {region}"))
}

/// What a key in this state is not used for.
pub(crate) fn unusable(arn: &str, status: Status) -> Option<Refusal> {
    match status {
        Status::Enabled => None,
        Status::Disabled => Some(refusal("DisabledException", format!("{arn} is disabled."))),
        Status::PendingDeletion => Some(invalid_state(arn, "is pending deletion.")),
        Status::PendingImport => Some(invalid_state(arn, "is pending import.")),
        Status::Unavailable => Some(invalid_state(arn, "is unavailable.")),
    }
}

fn invalid_state(arn: &str, what: &str) -> Refusal {
    refusal("KMSInvalidStateException", format!("{arn} {what}"))
}

pub(crate) fn wrong_usage(arn: &str, usage: &str, operation: &str) -> Refusal {
    refusal(
        "InvalidKeyUsageException",
        format!("{arn} key usage is {usage} which is not valid for {operation}."),
    )
}

pub(crate) fn incorrect_key() -> Refusal {
    refusal(
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )
}

/// Of another key, changed, cut, or of another context: KMS tells no more.
pub(crate) fn invalid_ciphertext() -> Refusal {
    refusal("InvalidCiphertextException", "")
}
