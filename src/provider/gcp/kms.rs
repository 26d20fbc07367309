//! Encrypt and decrypt at one key of Cloud KMS: bound to the tenant by additional authenticated data,
//! every byte that travels checked by CRC32C at both ends. No answer is believed beyond that.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::checksum::{crc32c, fits};
use super::classify::{self, Operation, Service};
use super::credential::Credential;
use super::keyref::is_version;
use super::source::Source;
use super::subject::Subject;
use super::token::Token;
use super::transport::{KMS, Transport};
use super::wire::{Decrypted, Encrypted};
use crate::provider::answer::Answer;
use crate::provider::http::receive;
use crate::provider::{Failure, Kind, Kms, Wrapped, length_prefixed};

/// For one call, a token included.
const DEADLINE: Duration = Duration::from_secs(12);
const LABEL: &[u8] = b"tenantkms.dev/gcp/v1";

pub struct GcpKms {
    transport: Transport,
    credential: Credential,
    subject: Subject,
    identity: String,
}

impl GcpKms {
    /// `longest` is how long one token is used.
    pub fn new(source: Source, longest: Duration) -> Self {
        Self {
            transport: source.transport.clone(),
            identity: source.subject.who.describe(),
            subject: source.subject.clone(),
            credential: Credential::new(source, longest),
        }
    }

    async fn call(&self, operation: Operation, body: &Value) -> Result<Answer, Failure> {
        let call = async {
            let token = self.credential.token().await?;
            let (status, failure) = match self.send(operation, body, &token).await? {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            // "You cannot use a disabled pool to exchange tokens, or use existing tokens to access
            // resources" (cloud.google.com/iam/docs, Manage workload identity pools): then STS says so.
            if status == 401
                && failure.kind != Kind::Denial
                && let Some(new) = self.credential.instead_of(&token).await?
            {
                let again = self.send(operation, body, &new).await?;
                return again.map_err(|(_, failure)| failure);
            }
            Err(failure)
        };
        tokio::time::timeout(DEADLINE, call)
            .await
            .unwrap_or_else(|_| Err(classify::silent(Service::Kms)))
    }

    /// One request: its answer, or the status and the meaning of a refusal.
    async fn send(
        &self,
        operation: Operation,
        body: &Value,
        token: &Token,
    ) -> Result<Result<Answer, (u16, Failure)>, Failure> {
        let key = &self.subject.key.id;
        let url = format!("https://{KMS}/v1/{key}:{}", operation.verb());
        let mut request = self.transport.kms.post(url);
        if let Some(project) = &self.subject.billed {
            request = request.header("x-goog-user-project", project);
        }
        let request = request.bearer_auth(token.secret.expose()).json(body);
        let answer = receive(request.send().await)
            .await
            .map_err(|trouble| classify::trouble(trouble, Service::Kms))?;
        if answer.status == 200 {
            return Ok(Ok(answer));
        }
        let seen = token.seen.as_deref();
        let failure = classify::kms(operation, &answer, &self.subject, seen);
        Ok(Err((answer.status, failure)))
    }
}

/// What a wrapped key opens for, and for nothing else.
fn binding(tenant_uid: &str) -> Vec<u8> {
    length_prefixed(&[LABEL, tenant_uid.as_bytes()])
}

fn decoded(text: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(|_| classify::distrusted(KMS))
}

fn parsed<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_slice(answer.body()).map_err(|_| classify::distrusted(KMS))
}

#[async_trait]
impl Kms for GcpKms {
    async fn wrap(
        &self,
        tenant_uid: &str,
        plaintext: &Zeroizing<Vec<u8>>,
    ) -> Result<Wrapped, Failure> {
        let aad = binding(tenant_uid);
        let body = json!({
            "plaintext": STANDARD.encode(plaintext.as_slice()),
            "plaintextCrc32c": crc32c(plaintext).to_string(),
            "additionalAuthenticatedData": STANDARD.encode(&aad),
            "additionalAuthenticatedDataCrc32c": crc32c(&aad).to_string(),
        });
        let answer = self.call(Operation::Encrypt, &body).await?;
        let said: Encrypted = parsed(&answer)?;
        // Without these it encrypted something that may not be what was sent.
        if !said.verified_plaintext_crc32c || !said.verified_additional_authenticated_data_crc32c {
            return Err(classify::changed_on_the_way());
        }
        let ciphertext = decoded(&said.ciphertext)?;
        if !fits(&said.ciphertext_crc32c, &ciphertext) {
            return Err(classify::changed_on_the_way());
        }
        let version = self.subject.key.version_of(&said.name);
        let version = version.ok_or_else(|| classify::distrusted(KMS))?;
        Ok(Wrapped {
            ciphertext,
            kek_version: version.to_owned(),
        })
    }

    /// The ciphertext itself says which version made it.
    async fn unwrap(
        &self,
        tenant_uid: &str,
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if !is_version(&wrapped.kek_version) {
            return Err(classify::foreign_version(&self.subject));
        }
        let aad = binding(tenant_uid);
        let body = json!({
            "ciphertext": STANDARD.encode(&wrapped.ciphertext),
            "ciphertextCrc32c": crc32c(&wrapped.ciphertext).to_string(),
            "additionalAuthenticatedData": STANDARD.encode(&aad),
            "additionalAuthenticatedDataCrc32c": crc32c(&aad).to_string(),
        });
        let answer = self.call(Operation::Decrypt, &body).await?;
        let said: Decrypted = parsed(&answer)?;
        let plaintext = Zeroizing::new(decoded(&said.plaintext)?);
        if !fits(&said.plaintext_crc32c, &plaintext) {
            return Err(classify::changed_on_the_way());
        }
        Ok(plaintext)
    }

    fn key_id(&self) -> &str {
        &self.subject.key.id
    }

    fn identity(&self) -> &str {
        &self.identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_a_binding_of_its_own() {
        let acme = binding("0123456789abcdef0123456789abcdef");
        assert_eq!(acme.len(), 8 + LABEL.len() + 8 + 32);
        assert_ne!(acme, binding("0123456789abcdef0123456789abcdee"));
        assert!(!binding("ab").starts_with(&binding("a")));
    }
}
