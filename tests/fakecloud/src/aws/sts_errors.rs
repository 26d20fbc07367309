//! STS's refusals, in the query protocol's XML; docs.aws.amazon.com, STS API Reference, "Common Errors" and the errors
//! of AssumeRole and AssumeRoleWithWebIdentity.

use crate::aws::access::No;
use crate::aws::caller::Caller;
use crate::aws::region::account;
use crate::aws::sigv4::Unsigned;
use crate::crypto::uuid;
use crate::http::Answer;

pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

fn refusal(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        status,
        code,
        message: message.into(),
    }
}

/// A text between two tags.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// An XML answer with its request id in body and header.
pub(crate) fn xml(status: u16, body: impl FnOnce(&str) -> String) -> Answer {
    let id = uuid();
    Answer::new(status, "text/xml", body(&id)).with("x-amzn-requestid", id)
}

/// An error in the query protocol's form.
pub(crate) fn error_xml(status: u16, code: &str, message: &str, id: &str) -> String {
    let kind = if status < 500 { "Sender" } else { "Receiver" };
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\">\n  <Error>\n    <Type>{kind}</Type>\n    <Code>{code}</Code>\n    \
         <Message>{}</Message>\n  </Error>\n  <RequestId>{id}</RequestId>\n</ErrorResponse>\n",
        escape(message)
    )
}

impl Refusal {
    pub(crate) fn answer(&self) -> Answer {
        xml(self.status, |id| {
            error_xml(self.status, self.code, &self.message, id)
        })
    }
}

pub(crate) fn unsigned(why: Unsigned) -> Refusal {
    match why {
        Unsigned::Missing => refusal(
            403,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ),
        Unsigned::Incomplete(message) => refusal(400, "IncompleteSignature", message),
        Unsigned::Wrong(message) => refusal(403, "SignatureDoesNotMatch", message),
        Unsigned::UnknownKey => refusal(
            403,
            "InvalidClientTokenId",
            "The security token included in the request is invalid",
        ),
        Unsigned::TokenExpired => refusal(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ),
    }
}

pub(crate) fn invalid_action(action: &str, version: &str) -> Refusal {
    refusal(
        400,
        "InvalidAction",
        format!("Could not find operation {action} for version {version}"),
    )
}

pub(crate) fn validation(message: impl Into<String>) -> Refusal {
    refusal(400, "ValidationError", message)
}

/// The same for a role that is not there, that trusts others, and for a wrong external id.
pub(crate) fn denied(caller: &Caller, role: &str, why: No) -> Refusal {
    let because = match why {
        No::Identity if caller.account() == account(role) => {
            " because no identity-based policy allows the sts:AssumeRole action"
        }
        _ => "",
    };
    refusal(
        403,
        "AccessDenied",
        format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {role}{because}",
            caller.arn()
        ),
    )
}

pub(crate) fn not_trusted() -> Refusal {
    refusal(
        403,
        "AccessDenied",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
    )
}

pub(crate) fn invalid_token(message: impl Into<String>) -> Refusal {
    refusal(400, "InvalidIdentityToken", message)
}

pub(crate) fn expired_token(message: impl Into<String>) -> Refusal {
    refusal(400, "ExpiredTokenException", message)
}
