//! Errors in the form of Google's APIs (google.aip.dev/193): code, message, status and typed details; and in the form
//! of OAuth for STS.

use serde_json::{Value, json};

use crate::http::Answer;

/// One refusal of a Google API.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    code: u16,
    status: &'static str,
    message: String,
    details: Vec<Value>,
}

impl Refusal {
    fn new(code: u16, status: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            status,
            message: message.into(),
            details: Vec::new(),
        }
    }

    fn info(mut self, reason: &str, domain: &str, metadata: &Value) -> Self {
        self.details.push(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason, "domain": domain, "metadata": metadata,
        }));
        self
    }

    pub(crate) fn answer(&self) -> Answer {
        let mut error =
            json!({ "code": self.code, "message": self.message, "status": self.status });
        if !self.details.is_empty() {
            error["details"] = self.details.clone().into();
        }
        finish(Answer::json(self.code, &json!({ "error": error })))
    }
}

/// The headers of every answer of an API.
pub(crate) fn finish(answer: Answer) -> Answer {
    answer
        .with("vary", "X-Origin, Referer, Origin,Accept-Encoding")
        .with("server", "ESF")
        .with("cache-control", "private")
        .with("x-xss-protection", "0")
        .with("x-frame-options", "SAMEORIGIN")
        .with("x-content-type-options", "nosniff")
}

/// The page of an API front end for a path that it has not.
pub(crate) fn no_such_path() -> Answer {
    let page = "<!DOCTYPE html>\n<title>Error 404 (Not Found)!!1</title>\n<p><b>404.</b> That’s an error.\n";
    Answer::new(404, "text/html; charset=UTF-8", page)
}

pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "INVALID_ARGUMENT", message)
}

pub(crate) fn unauthenticated(reason: &str, service: &str) -> Refusal {
    let message = if reason == "CREDENTIALS_MISSING" {
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other \
         valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    } else {
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid \
         authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    };
    let metadata = json!({ "service": service });
    Refusal::new(401, "UNAUTHENTICATED", message).info(reason, "googleapis.com", &metadata)
}

pub(crate) fn scopes(service: &str) -> Refusal {
    let message = "Request had insufficient authentication scopes.";
    Refusal::new(403, "PERMISSION_DENIED", message).info(
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "googleapis.com",
        &json!({ "service": service }),
    )
}

/// A predefined permission that the caller has not; also said of what does not exist.
pub(crate) fn denied(permission: &str, domain: &str, resource: Option<&str>) -> Refusal {
    let (on, metadata) = match resource {
        Some(name) => (
            format!("resource '{name}'"),
            json!({ "permission": permission, "resource": name }),
        ),
        None => ("resource".to_owned(), json!({ "permission": permission })),
    };
    let message = format!("Permission '{permission}' denied on {on} (or it may not exist).");
    Refusal::new(403, "PERMISSION_DENIED", message).info("IAM_PERMISSION_DENIED", domain, &metadata)
}

/// The project that is billed has not enabled the service.
pub(crate) fn service_disabled(service: &str, number: u64) -> Refusal {
    let title = match service {
        super::KMS_HOST => "Cloud Key Management Service (KMS) API",
        _ => "IAM Service Account Credentials API",
    };
    let url = format!(
        "https://console.developers.google.com/apis/api/{service}/overview?project={number}"
    );
    let message = format!(
        "{title} has not been used in project {number} before or it is disabled. Enable it by visiting {url} then \
         retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and \
         retry."
    );
    let metadata = json!({
        "consumer": format!("projects/{number}"), "service": service, "serviceTitle": title,
        "containerInfo": number.to_string(), "activationUrl": url,
    });
    let mut refusal = Refusal::new(403, "PERMISSION_DENIED", message).info(
        "SERVICE_DISABLED",
        "googleapis.com",
        &metadata,
    );
    refusal.details.push(json!({
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [{ "description": "Google developers console API activation", "url": url }],
    }));
    refusal
}

/// The caller may not have the project of `x-goog-user-project` billed.
pub(crate) fn user_project(project: &str, service: &str) -> Refusal {
    let message = format!(
        "Caller does not have required permission to use project {project}. Grant the caller the \
         roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission."
    );
    let metadata = json!({ "consumer": format!("projects/{project}"), "service": service });
    Refusal::new(403, "PERMISSION_DENIED", message).info(
        "USER_PROJECT_DENIED",
        "googleapis.com",
        &metadata,
    )
}

pub(crate) fn not_found(what: &str, name: &str) -> Refusal {
    Refusal::new(404, "NOT_FOUND", format!("{what} {name} not found."))
}

pub(crate) fn unknown_account(email: &str) -> Refusal {
    let message = format!("Not found; Gaia id not found for email {email}");
    Refusal::new(404, "NOT_FOUND", message)
}

/// The state of a version forbids its use; `violation` is for instance `KEY_DISABLED`.
pub(crate) fn not_enabled(version: &str, state: &str, violation: &str) -> Refusal {
    let message = format!("{version} is not enabled, current state is: {state}.");
    let mut refusal = Refusal::new(400, "FAILED_PRECONDITION", message);
    refusal.details.push(json!({
        "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
        "violations": [{ "type": violation, "subject": version }],
    }));
    refusal
}

pub(crate) fn precondition(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "FAILED_PRECONDITION", message)
}

pub(crate) fn method_not_allowed() -> Answer {
    Answer::new(
        405,
        "text/html; charset=UTF-8",
        "<title>Error 405</title>\n",
    )
}

/// STS speaks OAuth: `{error, error_description}`.
pub(crate) fn oauth(status: u16, error: &str, description: &str) -> Answer {
    finish(Answer::json(
        status,
        &json!({ "error": error, "error_description": description }),
    ))
}
