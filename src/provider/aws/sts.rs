//! Sessions of a role, bought at STS of the key's region through AWS's own client: with the operator's
//! identity or with a token. Nothing is retried here: the seal rule has a schedule of its own.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures::FutureExt;
use tokio::time::timeout;

use super::classify::{self, Service};
use super::said::Said;
use super::subject::Subject;
use super::transport::Transport;
use crate::credentials::Secret;
use crate::provider::Failure;
use crate::provider::answer::Trouble;

/// For one answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// The shortest that STS grants; what is bought is used for at most `proofTTL`.
const SESSION_SECONDS: i32 = 900;

/// Why there is no session.
#[derive(Debug)]
pub enum Refused {
    Said(Said),
    Trouble(Trouble),
}

impl Refused {
    fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match Said::of(error) {
            Ok(said) => Self::Said(said),
            Err(trouble) => Self::Trouble(trouble),
        }
    }

    pub fn failure(self, subject: &Subject, said: impl Fn(&Said) -> Failure) -> Failure {
        match self {
            Self::Said(answer) => said(&answer),
            Self::Trouble(trouble) => classify::trouble(trouble, Service::Sts, subject),
        }
    }

    /// Whether STS itself says that the role does not open.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Said(said) if said.status == 403
            && said.code() == "AccessDenied"
            && !said.is_of_endpoint()
            && !said.is_of_caller())
    }
}

/// AssumeRole by `own`, with this external id.
pub async fn with_external_id(
    transport: &Transport,
    subject: &Subject,
    own: Credentials,
    role: &str,
    external_id: &str,
) -> Result<Credentials, Refused> {
    let call = client(transport, subject, Some(own))
        .assume_role()
        .role_arn(role)
        .role_session_name(&subject.session)
        .external_id(external_id)
        .duration_seconds(SESSION_SECONDS)
        .send()
        .boxed();
    let answer = timeout(DEADLINE, call).await;
    let answer = answer.map_err(|_| Refused::Trouble(Trouble::Timeout))?;
    session(answer.map_err(|error| Refused::of(&error))?.credentials)
}

/// AssumeRoleWithWebIdentity; the session has this name in CloudTrail.
pub async fn with_token(
    transport: &Transport,
    subject: &Subject,
    role: &str,
    name: &str,
    token: &Secret,
) -> Result<Credentials, Refused> {
    let call = client(transport, subject, None)
        .assume_role_with_web_identity()
        .role_arn(role)
        .role_session_name(name)
        .web_identity_token(token.expose())
        .duration_seconds(SESSION_SECONDS)
        .send()
        .boxed();
    let answer = timeout(DEADLINE, call).await;
    let answer = answer.map_err(|_| Refused::Trouble(Trouble::Timeout))?;
    session(answer.map_err(|error| Refused::of(&error))?.credentials)
}

fn session(given: Option<aws_sdk_sts::types::Credentials>) -> Result<Credentials, Refused> {
    let given = given.ok_or(Refused::Trouble(Trouble::Broken))?;
    Ok(Credentials::new(
        given.access_key_id,
        given.secret_access_key,
        Some(given.session_token),
        None,
        "tenant-kms",
    ))
}

fn client(transport: &Transport, subject: &Subject, own: Option<Credentials>) -> Client {
    let mut config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(subject.key.region.name.clone()))
        .endpoint_url(format!("https://{}", subject.sts_host()))
        .http_client(transport.for_sts())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .disable_clock_skew_correction(true);
    config.set_credentials_provider(
        own.map(aws_credential_types::provider::SharedCredentialsProvider::new),
    );
    Client::from_conf(config.build())
}
