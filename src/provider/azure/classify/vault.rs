//! Key Vault's answers; learn.microsoft.com, "Azure Key Vault REST API error codes". A refusal
//! counts as one only in the service's own JSON form: a proxy's 403 is nobody's no.

use serde::Deserialize;

use crate::api::Reason;
use crate::provider::answer::Answer;
use crate::provider::azure::subject::{Subject, quoted};
use crate::provider::{Failure, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Wrap,
    Unwrap,
    Get,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Wrap => "wrapKey",
            Self::Unwrap => "unwrapKey",
            Self::Get => "get",
        }
    }
}

#[derive(Deserialize)]
struct Body {
    error: Detail,
}

#[derive(Deserialize)]
struct Detail {
    code: String,
    #[serde(default)]
    message: String,
    innererror: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    code: Option<String>,
}

/// What an answer that is no success means. `seen` is the caller's object id, where a token
/// showed it.
pub fn vault(
    operation: Operation,
    answer: &Answer,
    subject: &Subject,
    seen: Option<&str>,
) -> Failure {
    let body = serde_json::from_slice::<Body>(answer.body()).ok();
    let refusal = Refusal {
        operation: operation.name(),
        subject,
        seen,
    };
    let (failure, code) = match (answer.status, &body) {
        (429, body) => (
            refusal.throttled(),
            body.as_ref().map(|b| b.error.code.as_str()),
        ),
        (_, None) => (refusal.unknown_form(answer.status), None),
        (status, Some(body)) => {
            let inner = body
                .error
                .innererror
                .as_ref()
                .and_then(|inner| inner.code.as_deref());
            let code = inner.unwrap_or(&body.error.code);
            let own = answer
                .headers()
                .any(|(name, _)| name.starts_with("x-ms-keyvault-"));
            match status {
                401 => (
                    refusal.unauthenticated(),
                    Some(akv(&body.error).unwrap_or(code)),
                ),
                403 => (refusal.forbidden(code, own), Some(code)),
                404 if code == "KeyNotFound" => (refusal.not_found(), Some(code)),
                400 if code == "BadParameter" && operation == Operation::Wrap => {
                    (refusal.unusable(), Some(code))
                }
                400 if code == "BadParameter" && operation == Operation::Unwrap => {
                    (refusal.unlisted(status).with_bytes_refused(), Some(code))
                }
                500.. => (refusal.broken(status), Some(code)),
                _ => (refusal.unlisted(status), Some(code)),
            }
        }
    };
    // Key Vault's codes are words without any sign; what a secret looks like is none.
    let code = code.filter(|code| code.bytes().all(|b| b.is_ascii_alphanumeric()));
    failure
        .with_code(code)
        .with_request_id(answer.request_id())
        .with_retry_after(answer.retry_after())
}

/// Authentication failures carry their number in the text: `AKV10032: …`, or in brackets.
fn akv(error: &Detail) -> Option<&str> {
    let text = error.message.trim_start_matches('[');
    let digits = text.strip_prefix("AKV")?;
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    (length > 0).then(|| &text[..3 + length])
}

struct Refusal<'a> {
    operation: &'static str,
    subject: &'a Subject,
    seen: Option<&'a str>,
}

impl Refusal<'_> {
    fn key(&self) -> String {
        format!("key {} of {}", self.subject.key, self.subject.host)
    }

    fn forbidden(&self, code: &str, own: bool) -> Failure {
        let (key, operation, subject) = (self.key(), self.operation, self.subject);
        match code {
            "ForbiddenByRbac" => self.access(&subject.grant_role(self.seen)),
            "ForbiddenByPolicy" | "AccessDenied" => self.access(&format!(
                "{} (the vault uses access policies when this prints false or nothing: {})",
                subject.grant_policy(self.seen),
                subject.permission_model()
            )),
            "KeyDisabled" => Failure::denial(
                Reason::KeyDisabled,
                format!(
                    "{key} is disabled. Check with its owner whether that is meant; it is enabled \
                     by: {}",
                    subject.key_command("set-attributes", "--enabled true")
                ),
            ),
            "KeyExpired" => Failure::denial(
                Reason::KeyExpired,
                format!(
                    "{key} has expired, so {operation} is refused. Check its expiry date with its \
                     owner, then rotate it: {}",
                    subject.key_command("rotate", "")
                ),
            ),
            "KeyNotYetValid" => Failure::denial(
                Reason::KeyUnusable,
                format!(
                    "{key} is not yet valid, so {operation} is refused. Check its activation date \
                     (nbf) with its owner, then set it: {}",
                    subject.key_command("set-attributes", "--not-before '<date>T00:00:00Z'")
                ),
            ),
            "KeyOperationForbidden" => Failure::denial(
                Reason::KeyUnusable,
                format!(
                    "{key} does not permit {operation}. Check its permitted operations (key_ops); \
                     they must hold wrapKey and unwrapKey: {}",
                    subject.key_command("set-attributes", "--ops wrapKey unwrapKey")
                ),
            ),
            "ForbiddenByFirewall" | "ForbiddenByConnection" => Failure::transient(
                Reason::Unreachable,
                format!(
                    "the network rules of {} refuse the operator's address. Check the vault's \
                     firewall, private endpoints and the operator's outgoing address: az keyvault \
                     network-rule add --name {} --ip-address '<outgoing address>'",
                    subject.host,
                    quoted(&subject.vault)
                ),
            ),
            // Managed HSM and old vaults give no detail; then the service must show otherwise
            // that it speaks for itself.
            "Forbidden" if own => self.access(&format!(
                "{} (in a vault with access policies: {}; which it uses is said by: {})",
                subject.grant_role(self.seen),
                subject.grant_policy(self.seen),
                subject.permission_model()
            )),
            _ => self.unlisted(403),
        }
    }

    fn access(&self, command: &str) -> Failure {
        Failure::denial(
            Reason::AccessDenied,
            format!(
                "{} refuses {} to {}: it has no permission for it, or lost it. Check the grant on \
                 vault or key (a new one takes some minutes): {command}",
                self.key(),
                self.operation,
                self.subject.who.describe(),
            ),
        )
    }

    fn not_found(&self) -> Failure {
        Failure::denial(
            Reason::KeyNotFound,
            format!(
                "{} does not exist, or not in this version. Check the name; a deleted key comes \
                 back by: {}",
                self.key(),
                self.subject.key_command("recover", "")
            ),
        )
    }

    fn unauthenticated(&self) -> Failure {
        Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "{} does not accept the token of {}. Check that the vault belongs to the same \
                 directory: az keyvault show --name {} --query properties.tenantId --output tsv",
                self.subject.host,
                self.subject.who.describe(),
                quoted(&self.subject.vault)
            ),
        )
    }

    fn unusable(&self) -> Failure {
        unusable(self.subject)
    }

    fn throttled(&self) -> Failure {
        Failure::transient(
            Reason::Throttled,
            format!(
                "{} throttles requests. Check what else uses this vault, or choose a longer \
                 spec.verify.interval: az monitor metrics list --metric ServiceApiResult \
                 --resource \"$(az keyvault show --name {} --query id --output tsv)\"",
                self.subject.host,
                quoted(&self.subject.vault)
            ),
        )
    }

    fn broken(&self, status: u16) -> Failure {
        self.provider_error(&format!("failed {} with status {status}", self.operation))
    }

    fn unlisted(&self, status: u16) -> Failure {
        let what = format!("answered {} with status {status}, which is", self.operation);
        self.provider_error(&format!("{what} neither a success nor a known refusal"))
    }

    fn unknown_form(&self, status: u16) -> Failure {
        let what = format!("gave an answer with status {status} to {}", self.operation);
        self.provider_error(&format!(
            "{what} that is not in Key Vault's form; a proxy may have answered in its place, which"
        ))
    }

    fn provider_error(&self, what: &str) -> Failure {
        Failure::new(
            Kind::Transient,
            Reason::ProviderError,
            format!(
                "{} {what}: nothing is concluded from it. Check the vault's health and what \
                 stands between: {}",
                self.subject.host,
                self.subject.reach_vault()
            ),
        )
    }
}

/// The key's type or size cannot do RSA-OAEP-256 as it must be done.
pub fn unusable(subject: &Subject) -> Failure {
    Failure::misconfigured(
        Reason::KeyUnusable,
        format!(
            "key {} of {} cannot wrap with RSA-OAEP-256: it must be an RSA key of at least 2048 \
             bits. Check its type with its owner, who makes another one by: {}",
            subject.key,
            subject.host,
            Subject {
                key: "<new key>".to_owned(),
                ..subject.clone()
            }
            .key_command("create", "--kty RSA --size 3072 --ops wrapKey unwrapKey")
        ),
    )
}
