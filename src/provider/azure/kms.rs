//! Wrap and unwrap at one key of Key Vault, RSA-OAEP-256, through Azure's own client. The version
//! is taken from the answer and checked; no answer is believed beyond that.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions};
use azure_security_keyvault_keys::models::{
    EncryptionAlgorithm, KeyClientGetKeyOptions, KeyClientWrapKeyOptions, KeyOperationParameters,
    KeyOperationResult,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions, ResourceExt};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::classify::{self, Operation, Service};
use super::credential::Credential;
use super::foreign;
use super::keyref::{KeyRef, is_version};
use super::subject::Subject;
use super::transport::Transport;
use crate::api::Reason;
use crate::provider::answer::{Answer, Trouble};
use crate::provider::{Attributes, Expiry, Failure, Kms, Purgeable, Wrapped};

/// For one call, a challenge and a token included.
const DEADLINE: Duration = Duration::from_secs(12);
/// What everything is wrapped with here.
const OURS: EncryptionAlgorithm = EncryptionAlgorithm::RsaOaep256;
/// The bytes that the smallest modulus allowed (2048 bits) wraps to.
const MIN_WRAPPED: usize = 256;

pub struct AzureKms {
    client: KeyClient,
    credential: Arc<Credential>,
    key: KeyRef,
    subject: Subject,
    identity: String,
}

impl AzureKms {
    pub fn new(
        transport: &Transport,
        credential: Credential,
        key: KeyRef,
        subject: Subject,
    ) -> Result<Self, Failure> {
        let credential = Arc::new(credential);
        let options = KeyClientOptions {
            client_options: ClientOptions {
                // The seal rule has a schedule of its own.
                retry: RetryOptions::none(),
                transport: Some(transport.for_vault()),
                ..ClientOptions::default()
            },
            verify_challenge_resource: Some(true),
            ..KeyClientOptions::default()
        };
        let tokens: Arc<dyn TokenCredential> = credential.clone();
        let client = KeyClient::new(&key.origin(), tokens, Some(options))
            .map_err(|_| distrusted(&subject, "cannot be addressed"))?;
        Ok(Self {
            client,
            credential,
            identity: subject.who.describe(),
            key,
            subject,
        })
    }

    fn failure(&self, error: &azure_core::Error, operation: Operation) -> Failure {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(cause) = source {
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                return failure.clone();
            }
            if let Some(trouble) = cause.downcast_ref::<Trouble>() {
                return classify::trouble(*trouble, Service::Vault, &self.subject);
            }
            source = cause.source();
        }
        if let ErrorKind::HttpResponse {
            status,
            raw_response: Some(raw),
            ..
        } = error.kind()
        {
            let headers = raw.headers().iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
            let answer = Answer::from_parts(u16::from(*status), headers, raw.body());
            let seen = self.credential.seen();
            return classify::vault(operation, &answer, &self.subject, seen.as_deref());
        }
        distrusted(&self.subject, "gave an answer that Key Vault does not give")
    }

    /// Unwraps with one version, whose form was checked.
    async fn open(
        &self,
        algorithm: EncryptionAlgorithm,
        version: &str,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let call = async {
            let content = parameters(algorithm, ciphertext).try_into()?;
            let answer = self
                .client
                .unwrap_key(&self.key.name, version, content, None);
            answer.await?.into_model()
        };
        let result = tokio::time::timeout(DEADLINE, call)
            .await
            .map_err(|_| classify::silent(Service::Vault, &self.subject))?
            .map_err(|error| self.failure(&error, Operation::Unwrap))?;
        let version = version.to_ascii_lowercase();
        self.accept(result, Some(&version))
            .map(|(plaintext, _)| plaintext)
    }

    /// The bytes and the version of an answer, if both are what was asked for.
    fn accept(
        &self,
        result: KeyOperationResult,
        expected: Option<&str>,
    ) -> Result<(Zeroizing<Vec<u8>>, String), Failure> {
        let id = result.resource_id().ok();
        let id = id.filter(|id| {
            id.vault_url.eq_ignore_ascii_case(&self.key.origin())
                && id.name.eq_ignore_ascii_case(&self.key.name)
        });
        let version = id
            .and_then(|id| id.version)
            .filter(|version| is_version(version));
        let Some(version) = version.map(|version| version.to_ascii_lowercase()) else {
            return Err(distrusted(&self.subject, "names another key in its answer"));
        };
        if expected.is_some_and(|expected| expected != version) {
            return Err(distrusted(
                &self.subject,
                "names another version in its answer",
            ));
        }
        match result.result {
            Some(bytes) => Ok((Zeroizing::new(bytes), version)),
            None => Err(distrusted(&self.subject, "gave an answer without a value")),
        }
    }
}

fn parameters(algorithm: EncryptionAlgorithm, value: &[u8]) -> KeyOperationParameters {
    KeyOperationParameters {
        algorithm: Some(algorithm),
        value: Some(value.to_vec()),
        ..KeyOperationParameters::default()
    }
}

#[async_trait]
impl Kms for AzureKms {
    /// RSA-OAEP binds nothing: the commitment in the record tells another tenant's bytes.
    async fn wrap(&self, _: &str, plaintext: &Zeroizing<Vec<u8>>) -> Result<Wrapped, Failure> {
        let call = async {
            let options = KeyClientWrapKeyOptions {
                key_version: self.key.version.clone(),
                ..KeyClientWrapKeyOptions::default()
            };
            let content = parameters(OURS, plaintext).try_into()?;
            let answer = self.client.wrap_key(&self.key.name, content, Some(options));
            answer.await?.into_model()
        };
        let result = tokio::time::timeout(DEADLINE, call)
            .await
            .map_err(|_| classify::silent(Service::Vault, &self.subject))?
            .map_err(|error| self.failure(&error, Operation::Wrap))?;
        let (ciphertext, kek_version) = self.accept(result, self.key.version.as_deref())?;
        if ciphertext.len() < MIN_WRAPPED {
            return Err(classify::unusable(&self.subject));
        }
        Ok(Wrapped {
            ciphertext: ciphertext.to_vec(),
            kek_version,
        })
    }

    async fn unwrap(&self, _: &str, wrapped: &Wrapped) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // It is put into a path unescaped, and may come from a stored record.
        if !is_version(&wrapped.kek_version) {
            return Err(
                distrusted(&self.subject, "has no version of the recorded form")
                    .with_bytes_refused(),
            );
        }
        self.open(OURS, &wrapped.kek_version, &wrapped.ciphertext)
            .await
    }

    async fn unwrap_foreign(
        &self,
        algorithm: &str,
        kek_version: Option<&str>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let algorithm = foreign::algorithm(algorithm)?;
        let version = foreign::version(kek_version, &self.key, &self.subject)?;
        self.open(algorithm, &version, ciphertext).await
    }

    async fn attributes(&self) -> Result<Option<Attributes>, Failure> {
        let call = async {
            let options = KeyClientGetKeyOptions {
                key_version: self.key.version.clone(),
                ..KeyClientGetKeyOptions::default()
            };
            let answer = self.client.get_key(&self.key.name, Some(options));
            answer.await?.into_model()
        };
        let key = tokio::time::timeout(DEADLINE, call)
            .await
            .map_err(|_| classify::silent(Service::Vault, &self.subject))?
            .map_err(|error| self.failure(&error, Operation::Get))?;
        let Some(said) = key.attributes else {
            return Err(distrusted(&self.subject, "tells nothing of the key"));
        };
        let expires = said
            .expires
            .map(azure_core::time::OffsetDateTime::unix_timestamp);
        let expires = expires.and_then(|at| Timestamp::from_second(at).ok());
        // "If it contains 'Purgeable' the key can be permanently deleted by a privileged user":
        // learn.microsoft.com, Get Key, DeletionRecoveryLevel.
        let level = said.recovery_level.as_ref().map(AsRef::as_ref);
        let purgeable = level.is_some_and(|level: &str| level.contains("Purgeable"));
        Ok(Some(Attributes {
            expires: expires.map(|at| Expiry {
                at,
                command: self.subject.key_command("rotate", ""),
            }),
            purgeable: purgeable.then(|| Purgeable {
                command: self.subject.protect(),
            }),
            moved: None,
        }))
    }

    fn key_id(&self) -> &str {
        &self.key.id
    }

    fn identity(&self) -> &str {
        &self.identity
    }
}

fn distrusted(subject: &Subject, what: &str) -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "{} {what}: nothing is concluded from it. Check what stands between, such as a proxy \
             that answers in its place: {}",
            subject.host,
            subject.reach_vault()
        ),
    )
}
