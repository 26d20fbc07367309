//! Buys access tokens: at Entra with a client secret, at the node's metadata service with a
//! managed identity. The secret is read for this one request and zeroized after it.

use bytes::Bytes;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::answer::Answer;
use super::classify::{self, Service};
use super::subject::{Selector, Subject, Who};
use super::transport::Transport;
use crate::api::Reason;
use crate::credentials::{Secret, SecretSource};
use crate::policy::AllowedVariable;
use crate::provider::Failure;

const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
const IMDS_VERSION: &str = "2019-08-01";

/// What a tenant's tokens are bought with.
#[derive(Debug)]
pub enum Source {
    ClientSecret {
        variable: AllowedVariable,
        secrets: SecretSource,
        /// `https://AUTHORITY/DIRECTORY/oauth2/v2.0/token`.
        url: String,
        client: String,
    },
    ManagedIdentity(Selector),
}

/// A bearer token, zeroized by us until the SDK takes it.
pub struct Token {
    pub value: Zeroizing<String>,
    /// From now.
    pub seconds: u64,
}

/// Both services' answer: Entra writes the number as a number, the metadata service as a text.
#[derive(Deserialize)]
struct Body {
    access_token: String,
    expires_in: Number,
    token_type: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

impl Source {
    pub const fn service(&self) -> Service {
        match self {
            Self::ClientSecret { .. } => Service::Entra,
            Self::ManagedIdentity(_) => Service::Imds,
        }
    }

    /// One token for `resource`. Not bounded in time: the caller is.
    pub async fn token(
        &self,
        transport: &Transport,
        resource: &str,
        subject: &Subject,
    ) -> Result<Token, Failure> {
        let service = self.service();
        let answer = match self {
            Self::ClientSecret {
                variable,
                secrets,
                url,
                client,
            } => {
                let body = form(client, &secrets.read(variable)?, resource);
                let request = transport
                    .post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .header("accept", "application/json")
                    .body(body);
                transport.send(request).await
            }
            Self::ManagedIdentity(selector) => {
                let mut query = vec![("api-version", IMDS_VERSION), ("resource", resource)];
                match selector {
                    Selector::SystemAssigned => {}
                    Selector::ClientId(id) => query.push(("client_id", id)),
                    Selector::ObjectId(id) => query.push(("object_id", id)),
                    Selector::ResourceId(id) => query.push(("msi_res_id", id)),
                }
                transport.metadata(IMDS_PATH, &query).await
            }
        };
        let answer = answer.map_err(|trouble| classify::trouble(trouble, service, subject))?;
        if answer.status != 200 {
            return Err(match service {
                Service::Imds => classify::imds(&answer, subject),
                _ => classify::entra(&answer, subject),
            });
        }
        read(answer).ok_or_else(|| garbage(subject, service))
    }
}

/// The request's body, zeroized when the last part of the HTTP client lets go of it.
fn form(client: &str, secret: &Secret, resource: &str) -> Bytes {
    // Reserved whole: percent-encoding at most triples, and growing would leave copies behind.
    let length = 3 * (client.len() + secret.expose().len() + resource.len()) + 128;
    let text = url::form_urlencoded::Serializer::new(String::with_capacity(length))
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", client)
        .append_pair("scope", &format!("{resource}/.default"))
        .append_pair("client_secret", secret.expose())
        .finish();
    Bytes::from_owner(Zeroizing::new(text.into_bytes()))
}

fn read(answer: Answer) -> Option<Token> {
    let bytes = Zeroizing::new(answer.into_body());
    let body: Body = serde_json::from_slice(&bytes).ok()?;
    let seconds = match body.expires_in {
        Number::Number(seconds) => seconds,
        Number::Text(text) => text.parse().ok()?,
    };
    let value = Zeroizing::new(body.access_token);
    let sound = body.token_type.eq_ignore_ascii_case("bearer")
        && !value.is_empty()
        && value.bytes().all(|b| b.is_ascii_graphic());
    sound.then_some(Token { value, seconds })
}

fn garbage(subject: &Subject, service: Service) -> Failure {
    let who = match (&subject.who, service) {
        (Who::Application { .. }, Service::Entra) => subject.authority.as_str(),
        _ => "the node's metadata service",
    };
    Failure::transient(
        Reason::ProviderError,
        format!(
            "{who} gave something that is no token. Check what stands between, such as a proxy \
             that answers in its place: curl --verbose 'https://{}/'",
            subject.authority
        ),
    )
}

/// The caller's object id as the token says, for hints only: nothing is decided by it, and it is
/// not verified here.
pub fn object_id(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        oid: String,
    }
    let payload = token.split('.').nth(1)?;
    let payload = azure_core::base64::decode_url_safe(payload).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    super::is_guid(&claims.oid).then_some(claims.oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer::from_parts(200, std::iter::empty(), body.as_bytes())
    }

    #[test]
    fn only_a_bearer_token_is_a_token() {
        let entra = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a.b.c"}"#;
        let imds = r#"{"token_type":"Bearer","expires_in":"86399","access_token":"a.b.c"}"#;
        assert_eq!(read(answer(entra)).expect("a token").seconds, 3599);
        assert_eq!(read(answer(imds)).expect("a token").seconds, 86_399);
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"token_type":"Bearer","expires_in":1,"access_token":""}"#,
            r#"{"token_type":"Bearer","expires_in":1,"access_token":"a\nb"}"#,
            r#"{"token_type":"pop","expires_in":1,"access_token":"a"}"#,
            r#"{"token_type":"Bearer","expires_in":"soon","access_token":"a"}"#,
        ] {
            assert!(read(answer(body)).is_none(), "{body}");
        }
    }

    #[test]
    fn the_object_id_is_taken_from_a_token_only_as_a_guid() {
        let token = |claims: &str| {
            format!(
                "h.{}.s",
                azure_core::base64::encode_url_safe(claims.as_bytes())
            )
        };
        let id = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
        assert_eq!(
            object_id(&token(&format!(r#"{{"oid":"{id}"}}"#))).as_deref(),
            Some(id)
        );
        assert_eq!(object_id(&token(r#"{"oid":"'; rm -rf /"}"#)), None);
        assert_eq!(object_id("opaque"), None);
    }
}
