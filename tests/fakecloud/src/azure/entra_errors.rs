//! Entra's refusals, in the form and with the texts of the v2.0 token endpoint. Texts follow what the service sends,
//! because clients find the AADSTS number in them; see learn.microsoft.com, "Microsoft Entra authentication error codes".

use jiff::Timestamp;
use serde_json::json;

use crate::crypto::uuid;
use crate::http::Answer;

/// One refusal.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
}

impl Refusal {
    fn new(status: u16, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self {
            status,
            error,
            code,
            text: text.into(),
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        let (trace, correlation) = (uuid(), uuid());
        let time = Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let text = format!(
            "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}",
            self.code, self.text
        );
        let body = json!({
            "error": self.error,
            "error_description": text,
            "error_codes": [self.code],
            "timestamp": time,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        Answer::json(self.status, &body)
            .with("cache-control", "no-store, no-cache")
            .with("x-ms-request-id", trace)
    }
}

pub(crate) fn unknown_tenant(tenant: &str) -> Refusal {
    Refusal::new(
        400,
        "invalid_request",
        90002,
        format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud. Check with your subscription administrator, this may happen if there are no active \
             subscriptions for the tenant."
        ),
    )
}

pub(crate) fn only_post(method: &str) -> Refusal {
    Refusal::new(
        400,
        "invalid_request",
        900_561,
        format!("The endpoint only accepts POST requests. Received a {method} request."),
    )
}

/// The same, as the discovery document's endpoint says it.
pub(crate) fn no_configuration(tenant: &str) -> Refusal {
    Refusal {
        error: "invalid_tenant",
        ..unknown_tenant(tenant)
    }
}

/// What the service says to any body that is not a form: it finds no parameter in it.
pub(crate) fn missing(parameter: &str) -> Refusal {
    let text = format!("The request body must contain the following parameter: '{parameter}'.");
    Refusal::new(400, "invalid_request", 900_144, text)
}

pub(crate) fn unsupported_grant(grant: &str) -> Refusal {
    Refusal::new(
        400,
        "unsupported_grant_type",
        70003,
        format!("The app requested an unsupported grant type '{grant}'."),
    )
}

pub(crate) fn bad_scope(scope: &str) -> Refusal {
    Refusal::new(
        400,
        "invalid_scope",
        1_002_012,
        format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with \
             /.default suffixed to the resource identifier (application ID URI)."
        ),
    )
}

pub(crate) fn unknown_resource(resource: &str, tenant: &str) -> Refusal {
    Refusal::new(
        400,
        "invalid_resource",
        500_011,
        format!(
            "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if \
             the application has not been installed by the administrator of the tenant or consented to by any user \
             in the tenant. You might have sent your authentication request to the wrong tenant."
        ),
    )
}

pub(crate) fn unknown_application(client: &str, tenant: &str) -> Refusal {
    Refusal::new(
        400,
        "unauthorized_client",
        700_016,
        format!(
            "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if \
             the application has not been installed by the administrator of the tenant or consented to by any user \
             in the tenant. You may have sent your authentication request to the wrong tenant."
        ),
    )
}

pub(crate) fn disabled_application(client: &str) -> Refusal {
    Refusal::new(
        400,
        "unauthorized_client",
        7_000_112,
        format!("Application '{client}'(fakecloud) is disabled."),
    )
}

pub(crate) fn no_credential() -> Refusal {
    Refusal::new(
        401,
        "invalid_client",
        7_000_216,
        "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
    )
}

pub(crate) fn wrong_secret(client: &str) -> Refusal {
    Refusal::new(
        401,
        "invalid_client",
        7_000_215,
        format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
             not the client secret ID, for a secret added to app '{client}'."
        ),
    )
}

pub(crate) fn expired_secret(client: &str) -> Refusal {
    Refusal::new(
        401,
        "invalid_client",
        7_000_222,
        format!(
            "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new \
             keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added \
             security: https://aka.ms/certCreds."
        ),
    )
}

const FEDERATION: &str =
    "https://learn.microsoft.com/entra/workload-id/workload-identity-federation";

/// No federated credential at all. (Older reports have 70021, "No matching federated identity record found".)
pub(crate) fn not_federated(client: &str) -> Refusal {
    Refusal::new(
        401,
        "invalid_client",
        70025,
        format!(
            "The client '{client}'(fakecloud) has no configured federated identity credentials."
        ),
    )
}

/// `part` is issuer (700211), audience (700212) or subject (700213).
pub(crate) fn no_match(part: &str, value: &str) -> Refusal {
    let code = match part {
        "issuer" => 700_211,
        "audience" => 700_212,
        _ => 700_213,
    };
    Refusal::new(
        401,
        "invalid_client",
        code,
        format!(
            "No matching federated identity record found for presented assertion {part} '{value}'. Check your \
             federated identity credential Subject, Audience and Issuer against the presented assertion. {FEDERATION}"
        ),
    )
}

pub(crate) fn bad_assertion() -> Refusal {
    Refusal::new(
        400,
        "invalid_request",
        50027,
        "JWT token is invalid or malformed.",
    )
}

pub(crate) fn bad_signature() -> Refusal {
    Refusal::new(
        401,
        "invalid_client",
        700_027,
        "The certificate with identifier used to sign the client assertion is not registered on application. \
         [Reason - The key was not found.]",
    )
}

/// The issuer publishes no keys that Entra could fetch.
pub(crate) fn unreachable_issuer(issuer: &str) -> Refusal {
    Refusal::new(
        400,
        "invalid_request",
        50166,
        format!("Request to External OIDC endpoint failed. Issuer: '{issuer}'."),
    )
}

pub(crate) fn expired_assertion(from: &str, until: &str) -> Refusal {
    Refusal::new(
        401,
        "invalid_client",
        700_024,
        format!(
            "Client assertion is not within its valid time range. Current time: {}, assertion valid from {from}, \
             expiry time of assertion {until}. Review the documentation at \
             https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
            Timestamp::now()
        ),
    )
}
