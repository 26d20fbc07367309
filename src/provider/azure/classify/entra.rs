//! The token endpoint's answers; learn.microsoft.com, "Microsoft Entra authentication and
//! authorization error codes". Only three numbers say that the customer took the grant back.

use serde::Deserialize;

use crate::api::Reason;
use crate::provider::azure::answer::Answer;
use crate::provider::azure::subject::{Subject, Who, quoted};
use crate::provider::{Failure, Kind};

/// Entra's form: without both fields somebody else may have answered.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "error")]
    _error: String,
    error_codes: Vec<u32>,
}

/// What an answer that is no token means.
pub fn entra(answer: &Answer, subject: &Subject) -> Failure {
    let body = serde_json::from_slice::<Body>(answer.body()).ok();
    let number = body.and_then(|body| body.error_codes.first().copied());
    let failure = match (answer.status, number) {
        (429, _) => throttled(subject),
        (400 | 401 | 403, Some(number)) => refused(number, subject),
        (status, _) => inconclusive(status, subject),
    };
    let code = number.map(|number| format!("AADSTS{number}"));
    failure
        .with_code(code.as_deref())
        .with_request_id(answer.request_id())
        .with_retry_after(answer.retry_after())
}

fn refused(number: u32, subject: &Subject) -> Failure {
    let Who::Application {
        directory,
        client,
        variable,
    } = &subject.who
    else {
        return inconclusive(400, subject);
    };
    let app = quoted(client);
    let (kind, reason, message) = match number {
        700_016 => (
            Kind::Denial,
            Reason::AccessDenied,
            format!(
                "directory {directory} has no application {client}: it was never consented to \
                 there, or was removed. Check spec.azure.tenantId and clientId; an administrator \
                 of that directory adds it by: az ad sp create --id {app}"
            ),
        ),
        7_000_112 => (
            Kind::Denial,
            Reason::AccessDenied,
            format!(
                "application {client} is disabled in directory {directory}. Check with its \
                 administrator, who enables it by: az ad sp update --id {app} --set \
                 accountEnabled=true"
            ),
        ),
        700_213 => (
            Kind::Denial,
            Reason::AccessDenied,
            format!(
                "application {client} of directory {directory} trusts no federated credential \
                 like the one presented. Check issuer, subject and audience: az ad app \
                 federated-credential list --id {app}"
            ),
        ),
        7_000_215 => (
            Kind::Misconfigured,
            Reason::CredentialRejected,
            format!(
                "the client secret in variable {variable} is not one of application {client}. \
                 Check that it is the secret's value and not its id, else make a new one and put \
                 it there: az ad app credential reset --append --id {app}"
            ),
        ),
        7_000_222 => (
            Kind::Misconfigured,
            Reason::CredentialRejected,
            format!(
                "the client secret in variable {variable} of application {client} has expired. \
                 Make a new one and put it there: az ad app credential reset --append --id {app}"
            ),
        ),
        90_002 => (
            Kind::Misconfigured,
            Reason::CredentialRejected,
            format!(
                "there is no directory {directory} at {}. Check spec.azure.tenantId; the \
                 directory of the vault is printed by: az keyvault show --name {} --query \
                 properties.tenantId --output tsv",
                subject.authority,
                quoted(&subject.vault)
            ),
        ),
        700_024 => (
            Kind::Misconfigured,
            Reason::CredentialRejected,
            format!(
                "the assertion for application {client} is not within its time. Check the clock \
                 of the operator's node: kubectl debug node/'<node>' --image 'busybox' -- date -u"
            ),
        ),
        _ => (
            Kind::Misconfigured,
            Reason::CredentialRejected,
            format!(
                "{} refuses a token to application {client} of directory {directory}. Look the \
                 code up and check the application: az ad app show --id {app}",
                subject.authority
            ),
        ),
    };
    Failure::new(kind, reason, message)
}

fn throttled(subject: &Subject) -> Failure {
    Failure::transient(
        Reason::Throttled,
        format!(
            "{} throttles token requests. Check what else asks for tokens of {}: az monitor \
             activity-log list --status 'Failed' --offset '1h'",
            subject.authority,
            subject.who.describe()
        ),
    )
}

fn inconclusive(status: u16, subject: &Subject) -> Failure {
    let url = format!(
        "https://{}/common/v2.0/.well-known/openid-configuration",
        subject.authority
    );
    Failure::transient(
        Reason::ProviderError,
        format!(
            "{} answered a token request with status {status} in no known form: nothing is \
             concluded from it. Check its health and what stands between, such as a proxy: curl \
             --verbose {}",
            subject.authority,
            quoted(&url)
        ),
    )
}
