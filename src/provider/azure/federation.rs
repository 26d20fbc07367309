//! Tokens of this cluster that stand in for a client secret: what the pod was given for it, and
//! what a token says about itself. A token is read when it is used, and none for another audience
//! ever leaves.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::is_guid;
use super::subject::quoted;
use crate::api::Reason;
use crate::credentials::{AzureIdentity, Secret};
use crate::provider::Failure;

/// The one audience that Entra takes; learn.microsoft.com, "Workload identity federation".
pub const AUDIENCE: &str = "api://AzureADTokenExchange";

/// The operator's own identity: the choice made at start, with what the pod was given for it.
#[derive(Clone, Debug)]
pub struct Own {
    pub identity: AzureIdentity,
    /// `AZURE_TENANT_ID` and `AZURE_CLIENT_ID`, when both are GUIDs.
    pub application: Option<(String, String)>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
}

impl Own {
    pub fn from_environment(identity: AzureIdentity) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let guid = |name: &str| {
            variable(name)
                .filter(|value| is_guid(value))
                .map(|value| value.to_ascii_lowercase())
        };
        Self {
            identity,
            application: guid("AZURE_TENANT_ID").zip(guid("AZURE_CLIENT_ID")),
            token_file: variable("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
        }
    }

    /// The file with the operator's own token, where workload identity was chosen.
    pub fn token_file(&self) -> Result<PathBuf, Failure> {
        self.token_file.clone().ok_or_else(|| {
            not_given(
                "AZURE_FEDERATED_TOKEN_FILE is not set in the operator's pod. Check its label \
                 azure.workload.identity/use and the webhook of AKS: az aks update \
                 --resource-group '<group>' --name '<cluster>' --enable-oidc-issuer \
                 --enable-workload-identity",
            )
        })
    }

    /// Directory and client id of the operator's own application.
    pub fn application(&self) -> Result<(String, String), Failure> {
        self.application.clone().ok_or_else(|| {
            not_given(
                "AZURE_TENANT_ID and AZURE_CLIENT_ID are not both set to a GUID in the operator's \
                 pod. Check the annotation of its ServiceAccount: kubectl annotate serviceaccount \
                 '<the operator's>' --namespace '<namespace>' \
                 'azure.workload.identity/client-id=<client id>'",
            )
        })
    }
}

fn not_given(what: &str) -> Failure {
    Failure::misconfigured(
        Reason::IdentityUnavailable,
        format!("the operator's own identity in Azure is workload identity, and {what}"),
    )
}

/// A token, and what it says about itself.
#[derive(Debug)]
pub struct Assertion {
    pub token: Secret,
    pub presented: Presented,
}

/// What a federated credential must name. Checked for form: it stands in messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Presented {
    #[serde(rename = "iss")]
    pub issuer: String,
    #[serde(rename = "sub")]
    pub subject: String,
    #[serde(rename = "aud")]
    audiences: Audiences,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Assertion {
    /// The projected token of the operator's own `ServiceAccount`, read now.
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        const CHECK: &str = "Check the projected volume that AZURE_FEDERATED_TOKEN_FILE names: \
                             kubectl get pod '<pod>' --namespace '<namespace>' --output yaml";
        let token = Secret::from_path(path)
            .map_err(|why| unusable(&format!("the operator's own token {why}. {CHECK}")))?;
        Self::of(token).ok_or_else(|| {
            unusable(&format!(
                "the operator's own token is not one of Kubernetes for the audience {AUDIENCE}, \
                 and was not sent. {CHECK}"
            ))
        })
    }

    /// `None` when it is not a token for Entra, and Entra alone.
    pub fn of(token: Secret) -> Option<Self> {
        let payload = token.expose().split('.').nth(1)?;
        let payload = azure_core::base64::decode_url_safe(payload).ok()?;
        let presented: Presented = serde_json::from_slice(&payload).ok()?;
        let audience = match &presented.audiences {
            Audiences::One(one) => one == AUDIENCE,
            Audiences::Many(all) => all.iter().eq([AUDIENCE]),
        };
        let plain = |text: &str| {
            (1..=512).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b))
        };
        let sound = audience && plain(&presented.issuer) && plain(&presented.subject);
        sound.then_some(Self { token, presented })
    }
}

impl Presented {
    /// For people: what was shown.
    pub fn describe(&self) -> String {
        format!(
            "issuer {}, subject {}, audience {AUDIENCE}",
            self.issuer, self.subject
        )
    }

    /// Makes `client` trust exactly this.
    pub fn trust(&self, client: &str) -> String {
        let parameters = serde_json::json!({
            "name": "tenant-kms", "issuer": self.issuer, "subject": self.subject,
            "audiences": [AUDIENCE],
        });
        format!(
            "az ad app federated-credential create --id {} --parameters {}",
            quoted(client),
            quoted(&parameters.to_string())
        )
    }
}

pub fn unusable(what: &str) -> Failure {
    Failure::misconfigured(Reason::IdentityUnavailable, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Option<Assertion> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("token");
        let payload = azure_core::base64::encode_url_safe(claims.as_bytes());
        std::fs::write(&path, format!("h.{payload}.s\n")).expect("write");
        Assertion::of(Secret::from_path(&path).expect("a text"))
    }

    #[test]
    fn only_a_token_for_entra_alone_is_an_assertion() {
        let claims = |aud: &str| {
            format!(r#"{{"iss":"https://i.test","sub":"system:serviceaccount:a:b","aud":{aud}}}"#)
        };
        for aud in [
            r#""api://AzureADTokenExchange""#,
            r#"["api://AzureADTokenExchange"]"#,
        ] {
            assert!(token(&claims(aud)).is_some(), "{aud}");
        }
        for aud in [
            r#""https://kubernetes.default.svc""#,
            r#"["api://AzureADTokenExchange","https://kubernetes.default.svc"]"#,
            "[]",
        ] {
            assert!(token(&claims(aud)).is_none(), "{aud}");
        }
        let odd = r#"{"iss":"https://i.test","sub":"';rm","aud":"api://AzureADTokenExchange"}"#;
        assert!(token(odd).is_none());
    }
}
