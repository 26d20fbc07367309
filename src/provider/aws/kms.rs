//! Encrypt and Decrypt with one symmetric key of KMS, through AWS's own client, bound to the tenant by the
//! encryption context. The key is taken from the answer and checked; no answer is believed beyond that.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::KeyMetadata;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::classify::{self, Operation, Service};
use super::connect::Source;
use super::keyref::KeyRef;
use super::said::Said;
use super::subject::{Subject, Who, reach};
use super::transport::Transport;
use crate::api::Reason;
use crate::provider::answer::Trouble;
use crate::provider::{Attributes, Expiry, Failure, Kms, Moved, Wrapped};

/// For one call, a session included.
const DEADLINE: Duration = Duration::from_secs(12);
/// For the session, whatever it takes to get it.
const SESSION_DEADLINE: Duration = Duration::from_secs(9);
/// Under this name the customer finds the tenant's uid in CloudTrail, and may ask for it in a policy.
const CONTEXT: &str = "tenantkms.dev/tenant-uid";

pub struct AwsKms {
    source: Source,
    subject: Subject,
    identity: String,
    /// What the spec names the key by, where it is an alias.
    alias: Option<String>,
    /// Of the customer's role: bought when it is first needed, thrown away with this.
    session: Mutex<Option<Credentials>>,
}

impl AwsKms {
    /// For the key that is named, or the one that the alias named is known to be.
    pub fn new(source: Source, subject: Subject, alias: Option<String>) -> Self {
        Self {
            source,
            alias,
            identity: subject.who.describe(),
            subject,
            session: Mutex::default(),
        }
    }

    /// The key that the alias names now, asked of KMS.
    pub async fn resolved(self) -> Result<Self, Failure> {
        let key = self.beside(&self.describe(&self.subject.key.arn).await?)?;
        let subject = Subject {
            key,
            ..self.subject
        };
        Ok(Self { subject, ..self })
    }

    /// The key that an answer names, if an alias of ours may name it.
    fn beside(&self, said: &KeyMetadata) -> Result<KeyRef, Failure> {
        let arn = said.arn().unwrap_or_default();
        let key = self.subject.key.sibling(arn);
        key.ok_or_else(|| self.distrusted("names no key of the alias's account and region"))
    }

    async fn describe(&self, arn: &str) -> Result<KeyMetadata, Failure> {
        let send = |client: Client| client.describe_key().key_id(arn).send().boxed();
        let said = self.call(Operation::Describe, send).await?.key_metadata;
        said.ok_or_else(|| self.distrusted("tells nothing of the key"))
    }

    /// With a client of its own for each call, so that a tenant between two calls costs a session alone.
    async fn client(&self) -> Result<Client, Failure> {
        let session = async {
            // The operator's is shared and renewed elsewhere.
            if self.subject.who == Who::Own {
                return self.source.session(&self.subject).await;
            }
            let mut held = self.session.lock().await;
            if let Some(session) = held.as_ref() {
                return Ok(session.clone());
            }
            let session = self.source.session(&self.subject).await?;
            Ok(held.insert(session).clone())
        };
        let session = timeout(SESSION_DEADLINE, session).await;
        let late = |_| classify::trouble(Trouble::Timeout, Service::Sts, &self.subject);
        let session = session.map_err(late)??;
        Ok(client(&self.source.transport, &self.subject, session))
    }

    /// One call of KMS. A session that was good and is refused, as when the role was made anew, says
    /// nothing about the role: STS is asked for another one, and tells.
    async fn call<T, E>(
        &self,
        operation: Operation,
        send: impl Fn(Client) -> BoxFuture<'static, Result<T, SdkError<E, HttpResponse>>> + Sync,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let answer = timeout(DEADLINE, async {
            let once = async || {
                let answer = send(self.client().await?).await;
                answer.map_err(|error| self.failure(operation, &error))
            };
            match once().await {
                Err(failure) if self.is_of_session(&failure) => {
                    self.session.lock().await.take();
                    once().await
                }
                answer => answer,
            }
        });
        answer.await.unwrap_or_else(|_| {
            Err(classify::trouble(
                Trouble::Timeout,
                Service::Kms,
                &self.subject,
            ))
        })
    }

    fn is_of_session(&self, failure: &Failure) -> bool {
        self.subject.who != Who::Own
            && failure.reason == Reason::CredentialRejected
            && failure
                .code
                .as_ref()
                .is_some_and(|code| classify::is_of_session(code.as_str()))
    }

    fn failure<E>(&self, operation: Operation, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match Said::of(error) {
            Ok(said) => classify::kms(operation, &said, &self.subject),
            Err(trouble) => classify::trouble(trouble, Service::Kms, &self.subject),
        }
    }

    /// Whether an answer is about this key.
    fn check_key(&self, named: Option<&str>) -> Result<(), Failure> {
        if named == Some(&self.subject.key.arn) {
            return Ok(());
        }
        Err(self.distrusted("names another key in its answer"))
    }

    fn distrusted(&self, what: &str) -> Failure {
        let host = self.subject.kms_host();
        Failure::transient(
            Reason::ProviderError,
            format!(
                "{host} {what}: nothing is concluded from it. Check what stands between, such as a \
                 proxy that answers in its place: {}",
                reach(&host)
            ),
        )
    }
}

fn client(transport: &Transport, subject: &Subject, session: Credentials) -> Client {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(subject.key.region.name.clone()))
        .endpoint_url(format!("https://{}", subject.kms_host()))
        .credentials_provider(session)
        .http_client(transport.for_kms())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .disable_clock_skew_correction(true);
    Client::from_conf(config.build())
}

#[async_trait]
impl Kms for AwsKms {
    async fn wrap(
        &self,
        tenant_uid: &str,
        plaintext: &Zeroizing<Vec<u8>>,
    ) -> Result<Wrapped, Failure> {
        let send = |client: Client| {
            let call = client
                .encrypt()
                .key_id(&self.subject.key.arn)
                .plaintext(Blob::new(plaintext.as_slice()))
                .encryption_context(CONTEXT, tenant_uid);
            call.send().boxed()
        };
        let answer = self.call(Operation::Encrypt, send).await?;
        self.check_key(answer.key_id())?;
        let blob = answer.ciphertext_blob.map(Blob::into_inner);
        let ciphertext = blob.ok_or_else(|| self.distrusted("gave an answer without a value"))?;
        if ciphertext.len() < plaintext.len() {
            return Err(self.distrusted("gave a ciphertext that is too short"));
        }
        Ok(Wrapped {
            ciphertext,
            // KMS rotates below the key's id and opens with it whatever it wrapped.
            kek_version: self.subject.key.id().to_owned(),
        })
    }

    async fn unwrap(
        &self,
        tenant_uid: &str,
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if wrapped.kek_version != self.subject.key.id() {
            let failure = self.distrusted("has another key than the one on record");
            return Err(failure.with_bytes_refused());
        }
        let send = |client: Client| {
            let call = client
                .decrypt()
                .key_id(&self.subject.key.arn)
                .ciphertext_blob(Blob::new(wrapped.ciphertext.as_slice()))
                .encryption_context(CONTEXT, tenant_uid);
            call.send().boxed()
        };
        let answer = self.call(Operation::Decrypt, send).await?;
        self.check_key(answer.key_id())?;
        let plaintext = answer.plaintext.map(Blob::into_inner).map(Zeroizing::new);
        plaintext.ok_or_else(|| self.distrusted("gave an answer without a value"))
    }

    async fn attributes(&self) -> Result<Option<Attributes>, Failure> {
        let subject = &self.subject;
        let named = self.alias.as_deref().unwrap_or(&subject.key.arn);
        let said = self.describe(named).await?;
        let to = self.beside(&said)?.arn;
        if to != subject.key.arn {
            let command = self.source.follow(&to);
            let moved = Some(Moved { to, command });
            return Ok(Some(Attributes {
                moved,
                ..Attributes::default()
            }));
        }
        // Imported key material may have an end; a key that AWS made has none.
        let ends = said
            .valid_to()
            .map(|end| Timestamp::from_second(end.secs()));
        Ok(Some(Attributes {
            expires: ends.and_then(Result::ok).map(|at| Expiry {
                at,
                command: subject.key_command(
                    "get-parameters-for-import",
                    "--wrapping-algorithm 'RSAES_OAEP_SHA_256' --wrapping-key-spec 'RSA_3072'",
                ),
            }),
            ..Attributes::default()
        }))
    }

    fn key_id(&self) -> &str {
        &self.subject.key.arn
    }

    fn identity(&self) -> &str {
        &self.identity
    }
}
