//! Key Vault's refusals, in the service's own form: `error.code`, a message, and `error.innererror.code` where the
//! service sends one; see learn.microsoft.com, "Azure Key Vault REST API error codes".

use serde_json::json;

use crate::azure::token::Caller;
use crate::azure::{ENTRA_HOST, VAULT_RESOURCE};
use crate::http::Answer;

pub(crate) const REGION: &str = "westeurope";

/// A refusal of a request by a vault.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: u16,
    code: &'static str,
    inner: Option<&'static str>,
    message: String,
    /// Directory that the 401 challenge sends the client to.
    challenge: Option<String>,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            inner: None,
            message: message.into(),
            challenge: None,
        }
    }

    fn forbidden(inner: &'static str, message: impl Into<String>) -> Self {
        Self {
            inner: Some(inner),
            ..Self::new(403, "Forbidden", message)
        }
    }

    pub(crate) fn answer(self) -> Answer {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(inner) = self.inner {
            error["innererror"] = json!({ "code": inner });
        }
        let answer = Answer::json(self.status, &json!({ "error": error }));
        match self.challenge {
            None => answer,
            Some(tenant) => answer.with(
                "www-authenticate",
                format!(r#"Bearer authorization="https://{ENTRA_HOST}/{tenant}", resource="{VAULT_RESOURCE}""#),
            ),
        }
    }
}

pub(crate) fn unauthorized(tenant: &str, message: impl Into<String>) -> Refusal {
    Refusal {
        challenge: Some(tenant.to_owned()),
        ..Refusal::new(401, "Unauthorized", message)
    }
}

pub(crate) fn bad_parameter(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadParameter", message)
}

pub(crate) fn invalid_name(name: &str) -> Refusal {
    bad_parameter(format!("The request URI contains an invalid name: {name}"))
}

/// Ciphertext of another version, of another key, cut, or not a ciphertext at all: one answer.
pub(crate) fn incorrect() -> Refusal {
    bad_parameter("The parameter is incorrect.\r\n")
}

pub(crate) fn invalid_property() -> Refusal {
    bad_parameter("Property has invalid value\r\n")
}

pub(crate) fn wrong_key_type(url: &str, algorithm: &str) -> Refusal {
    bad_parameter(format!(
        "Key and encryption algorithm are incompatible. Key {url} is of type 'EC', and algorithm '{algorithm}' can \
         only be used with a key of type 'RSA' or 'RSA-HSM'."
    ))
}

pub(crate) fn no_such_operation() -> Refusal {
    Refusal::new(404, "NotFound", "The requested resource does not exist.")
}

pub(crate) fn method_not_allowed() -> Refusal {
    Refusal::new(
        405,
        "MethodNotAllowed",
        "The request method is not allowed for this resource.",
    )
}

pub(crate) fn media_type() -> Refusal {
    Refusal::new(
        415,
        "UnsupportedMediaType",
        "The request content type must be application/json.",
    )
}

/// Never created, deleted and purged are told apart by nothing, as in the service.
pub(crate) fn key_not_found(name: &str, version: &str) -> Refusal {
    let id = if version.is_empty() {
        name.to_owned()
    } else {
        format!("{name}/{version}")
    };
    Refusal::new(
        404,
        "KeyNotFound",
        format!(
            "A key with (name/id) {id} was not found in this key vault. If you recently deleted this key you may be \
             able to recover it using the correct recovery command. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125182"
        ),
    )
}

fn caller(caller: &Caller) -> String {
    format!(
        "appid={};oid={};iss={}",
        caller.app, caller.principal, caller.issuer
    )
}

pub(crate) fn by_firewall(who: &Caller, vault: &str) -> Refusal {
    Refusal::forbidden(
        "ForbiddenByFirewall",
        format!(
            "Client address is not authorized and caller is not a trusted service.\r\nClient address: 127.0.0.1\r\n\
             Caller: {}\r\nVault: {vault};location={REGION}",
            caller(who)
        ),
    )
}

pub(crate) fn by_rbac(who: &Caller, action: &str, resource: &str, vault: &str) -> Refusal {
    Refusal::forbidden(
        "ForbiddenByRbac",
        format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
             definitions were changed recently, please observe propagation time.\r\nCaller: {}\r\nAction: '{action}'\
             \r\nResource: '{resource}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \
             \r\nVault: {vault};location={REGION}\r\n",
            caller(who)
        ),
    )
}

pub(crate) fn by_policy(who: &Caller, permission: &str, vault: &str) -> Refusal {
    Refusal::forbidden(
        "ForbiddenByPolicy",
        format!(
            "The user, group or application '{}' does not have keys {permission} permission on key vault \
             '{vault};location={REGION}'. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125287",
            caller(who)
        ),
    )
}

pub(crate) fn disabled(operation: &str) -> Refusal {
    Refusal::forbidden(
        "KeyDisabled",
        format!("Operation {operation} is not allowed on a disabled key."),
    )
}

pub(crate) fn expired(operation: &str) -> Refusal {
    Refusal::forbidden(
        "KeyExpired",
        format!("Operation {operation} is not allowed on an expired key."),
    )
}

pub(crate) fn not_yet_valid(operation: &str) -> Refusal {
    Refusal::forbidden(
        "KeyNotYetValid",
        format!("Operation {operation} is not allowed on a key that is not yet valid."),
    )
}

pub(crate) fn not_permitted(operation: &str) -> Refusal {
    Refusal::forbidden(
        "KeyOperationForbidden",
        format!("Operation {operation} is not permitted on this key."),
    )
}
