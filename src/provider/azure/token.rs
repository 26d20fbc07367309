//! Buys access tokens through Azure's own identity library: at Entra with a client secret or a
//! token of this cluster, at the node's metadata service with a managed identity. What proves the
//! identity is read for this one request.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::http::{ClientMethodOptions, ClientOptions, RetryOptions};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::classify::{self, Service};
use super::federation::Presented;
use super::source::{Application, Source};
use super::subject::{Selector, Subject, Who};
use super::transport::{Heard, Transport};
use crate::api::Reason;
use crate::provider::Failure;

impl Source {
    pub const fn service(&self) -> Service {
        match self {
            Self::ClientSecret(..) | Self::Federated(..) => Service::Entra,
            Self::ManagedIdentity(_) => Service::Imds,
        }
    }

    /// One new token for `resource`. Not bounded in time: the caller is.
    pub async fn token(
        &self,
        transport: &Transport,
        resource: &str,
        subject: &Subject,
    ) -> Result<AccessToken, Failure> {
        let service = self.service();
        let heard = Arc::new(Heard::default());
        // A credential keeps its token and its secret: a new one for each token keeps neither.
        let (credential, presented) = self.credential(transport, &heard, subject).await?;
        let bought = credential
            .get_token(&[&format!("{resource}/.default")], None)
            .await;
        match bought {
            Ok(token) if is_sound(token.token.secret()) => Ok(token),
            Ok(_) => Err(garbage(subject, service)),
            // What the library says of an error may hold an answer's text: our own ears decide.
            Err(_) => Err(match heard.take() {
                Some(Err(trouble)) => classify::trouble(trouble, service, subject),
                Some(Ok(answer)) if answer.status != 200 => match service {
                    Service::Imds => classify::imds(&answer, subject),
                    _ => classify::entra(&answer, subject, presented.as_ref()),
                },
                Some(Ok(_)) | None => garbage(subject, service),
            }),
        }
    }

    /// A credential for one token, and what its assertion says where there is one.
    async fn credential(
        &self,
        transport: &Transport,
        heard: &Arc<Heard>,
        subject: &Subject,
    ) -> Result<(Arc<dyn TokenCredential>, Option<Presented>), Failure> {
        let unusable = |_| garbage(subject, self.service());
        match self {
            Self::ClientSecret(application, place) => {
                let secret = Secret::new(place.read().await?.expose().to_owned());
                let options = ClientSecretCredentialOptions {
                    client_options: at(application, transport, heard),
                };
                let (directory, client) = (&application.directory, application.client.clone());
                let made = ClientSecretCredential::new(directory, client, secret, Some(options));
                Ok((made.map_err(unusable)?, None))
            }
            Self::Federated(application, place) => {
                let assertion = place.read().await?;
                let given = Given(Zeroizing::new(assertion.token.expose().to_owned()));
                let options = ClientAssertionCredentialOptions {
                    client_options: at(application, transport, heard),
                };
                let (directory, client) =
                    (application.directory.clone(), application.client.clone());
                let made = ClientAssertionCredential::new(directory, client, given, Some(options));
                Ok((made.map_err(unusable)?, Some(assertion.presented)))
            }
            Self::ManagedIdentity(selector) => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: match selector {
                        Selector::SystemAssigned => None,
                        Selector::ClientId(id) => Some(UserAssignedId::ClientId(id.clone())),
                        Selector::ObjectId(id) => Some(UserAssignedId::ObjectId(id.clone())),
                        Selector::ResourceId(id) => Some(UserAssignedId::ResourceId(id.clone())),
                    },
                    client_options: once(transport.for_metadata(heard)),
                };
                let made = ManagedIdentityCredential::new(Some(options));
                Ok((made.map_err(unusable)?, None))
            }
        }
    }
}

/// An assertion that was read for this one request.
struct Given(Zeroizing<String>);

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[async_trait]
impl ClientAssertion for Given {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.as_str().to_owned())
    }
}

/// At the application's authority, heard by us.
fn at(application: &Application, transport: &Transport, heard: &Arc<Heard>) -> ClientOptions {
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host.clone_from(&application.authority);
    ClientOptions {
        cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
        ..once(transport.for_entra(heard))
    }
}

/// Without the library's retries: the seal rule has a schedule of its own.
fn once(transport: azure_core::http::Transport) -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(transport),
        ..ClientOptions::default()
    }
}

/// Whether it can stand in a header.
fn is_sound(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())
}

fn garbage(subject: &Subject, service: Service) -> Failure {
    let message = match (&subject.who, service) {
        (Who::Application { .. }, Service::Entra) => format!(
            "{authority} gave something that is no token. Check what stands between, such as a \
             proxy that answers in its place: curl --verbose 'https://{authority}/'",
            authority = subject.authority
        ),
        _ => format!(
            "the node's metadata service gave something that is no token: {}",
            classify::reach_imds()
        ),
    };
    Failure::transient(Reason::ProviderError, message)
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

    #[test]
    fn only_a_plain_token_is_a_token() {
        assert!(is_sound("a.b.c"));
        for text in ["", "a b", "a\nb", "\u{1b}[31m"] {
            assert!(!is_sound(text), "{text:?}");
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
