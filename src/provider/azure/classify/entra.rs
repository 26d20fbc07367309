//! The token endpoint's answers; learn.microsoft.com, "Microsoft Entra authentication and
//! authorization error codes". Only the numbers of [`is_denial`] say that the customer took the
//! grant back: never a wrong secret, an assertion out of time, or a signature that is not verified.

use serde::Deserialize;

use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::azure::federation::Presented;
use crate::provider::azure::subject::{Proof, Subject, Who, quoted};

/// Entra's form: without both fields somebody else may have answered.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "error")]
    _error: String,
    error_codes: Vec<u32>,
}

/// What an answer that is no token means. `presented` is what the assertion said, where one was
/// sent.
pub fn entra(answer: &Answer, subject: &Subject, presented: Option<&Presented>) -> Failure {
    let body = serde_json::from_slice::<Body>(answer.body()).ok();
    let number = body.and_then(|body| body.error_codes.first().copied());
    let failure = match (answer.status, number) {
        (429, _) => throttled(subject),
        (400 | 401 | 403, Some(number)) => refused(number, subject, presented),
        (status, _) => inconclusive(status, subject),
    };
    let code = number.map(|number| format!("AADSTS{number}"));
    failure
        .with_code(code.as_deref())
        .with_request_id(answer.request_id())
        .with_retry_after(answer.retry_after())
}

fn refused(number: u32, subject: &Subject, presented: Option<&Presented>) -> Failure {
    let Who::Application {
        directory,
        client,
        proof,
    } = &subject.who
    else {
        return inconclusive(400, subject);
    };
    let refusal = Refusal {
        subject,
        directory,
        client,
        proof,
        presented,
    };
    let message = refusal.message(number);
    if is_denial(number) {
        Failure::denial(Reason::AccessDenied, message)
    } else {
        Failure::misconfigured(Reason::CredentialRejected, message)
    }
}

/// What the customer's administrator can take away at Entra alone, and Entra says that it is gone.
///
/// The application: 700016 it is not in the directory, 7000229 it is there without a service
/// principal (learn.microsoft.com, "Authentication Troubleshooting" of the Teams SDK), 7000112 it
/// is disabled.
///
/// Its trust in the token's issuer, subject and audience. Which number a removed federated
/// credential gives depends on what the application trusts besides: 70025 nothing; 70021 says the
/// same of all three at once (learn.microsoft.com, "Troubleshoot an Azure Resource Manager
/// workload identity service connection": no federated credential was created, or its issuer is
/// another); 700211, 700212 and 700213 that issuer, audience or subject stand in none that is left
/// ("Federated identity credentials now use case-sensitive matching" for 7002138). Audience and
/// form of the token were checked before it was sent.
const fn is_denial(number: u32) -> bool {
    matches!(number, 700_016 | 7_000_229 | 7_000_112) || is_untrusted(number)
}

/// No federated credential of the application names what the token says.
const fn is_untrusted(number: u32) -> bool {
    matches!(number, 70_021 | 70_025 | 700_211..=700_213 | 7_002_138)
}

struct Refusal<'a> {
    subject: &'a Subject,
    directory: &'a str,
    client: &'a str,
    proof: &'a Proof,
    presented: Option<&'a Presented>,
}

impl Refusal<'_> {
    fn message(&self, number: u32) -> String {
        let Self {
            subject,
            directory,
            client,
            ..
        } = self;
        let (app, place) = (quoted(client), self.proof.place());
        match number {
            700_016 | 65_001 => self.consent(number),
            7_000_112 => format!(
                "application {client} is disabled in directory {directory}. Check with its \
                 administrator, who enables it by: az ad sp update --id {app} --set \
                 accountEnabled=true"
            ),
            700_027 | 50_027 | 50_166 => format!(
                "{} could not verify the token of {place} for application {client}: it reads the \
                 cluster's keys at the token's issuer{}. Check that the issuer's discovery document \
                 can be read from the internet: az aks show --resource-group '<group>' --name \
                 '<cluster>' --query oidcIssuerProfile.issuerUrl",
                subject.authority,
                self.presented
                    .map(|presented| format!(" {}", presented.issuer))
                    .unwrap_or_default()
            ),
            7_000_215 => format!(
                "the client secret in {place} is not one of application {client}. Check that it \
                 is the secret's value and not its id, else make a new one and put it there: az ad \
                 app credential reset --append --id {app}"
            ),
            7_000_222 => format!(
                "the client secret in {place} of application {client} has expired. Make a new one \
                 and put it there: az ad app credential reset --append --id {app}"
            ),
            7_000_229 => format!(
                "application {client} has no service principal in directory {directory}, so it \
                 can hold no role there. An administrator of that directory adds it by: az ad sp \
                 create --id {app}"
            ),
            90_002 => format!(
                "there is no directory {directory} at {}. Check the directory of the identity \
                 (spec.azure.tenantId, or the operator's AZURE_TENANT_ID); that of the vault is \
                 printed by: az keyvault show --name {} --query properties.tenantId --output tsv",
                subject.authority,
                quoted(&subject.vault)
            ),
            700_024 => format!(
                "the assertion for application {client}, a token of {place}, is not within its \
                 time. Check that the token is renewed, and the clock of the operator's node: \
                 kubectl debug node/'<node>' --image 'busybox' -- date -u"
            ),
            _ if is_untrusted(number) => self.trust(number),
            _ => format!(
                "{} refuses a token to application {client} of directory {directory}. Look the \
                 code up and check the application: az ad app show --id {app}",
                subject.authority
            ),
        }
    }

    fn consent(&self, number: u32) -> String {
        let (directory, client) = (self.directory, self.client);
        let what = if number == 65_001 {
            "nobody with the right to has consented there"
        } else {
            "it was never consented to there, or was removed"
        };
        let url = format!(
            "https://{}/{directory}/adminconsent?client_id={client}",
            self.subject.authority
        );
        let has = if number == 65_001 {
            "has not consented to"
        } else {
            "has no"
        };
        format!(
            "directory {directory} {has} application {client}: {what}. Check the directory and the \
             client id; an administrator of that directory adds it by: az ad sp create --id {}; or \
             consents at {}",
            quoted(client),
            quoted(&url)
        )
    }

    fn trust(&self, number: u32) -> String {
        let part = match number {
            700_211 => "its issuer is trusted by none",
            700_212 => "its audience is named by none",
            70_025 => "there is none at all",
            700_213 => "its subject is named by none",
            7_002_138 => "its subject is named in other capital or small letters",
            _ => "none names its subject and issuer",
        };
        let (client, place) = (self.client, self.proof.place());
        let app = quoted(client);
        let list = format!("az ad app federated-credential list --id {app}");
        let Some(presented) = self.presented else {
            return format!(
                "application {client} of directory {} trusts no federated credential like the one \
                 presented. Check issuer, subject and audience: {list}",
                self.directory
            );
        };
        format!(
            "application {client} of directory {} has no federated credential for the token of \
             {place} ({}): {part}. Compare: {list}; its owner adds it by: {}",
            self.directory,
            presented.describe(),
            presented.trust(client)
        )
    }
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
