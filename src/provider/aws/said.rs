//! What a service of AWS said that is no success: status, code and the service's own sentence. The
//! sentence is looked at and never repeated.

use std::error::Error;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::provider::answer::{Answer, Trouble};

/// A refusal in the service's form, or an answer in no form of its.
#[derive(Debug, Default)]
pub struct Said {
    pub status: u16,
    /// Only with AWS's id of the request, which every answer of AWS has: a stranger's JSON may look alike.
    pub code: Option<String>,
    message: String,
    pub request_id: Option<String>,
    pub retry_after: Option<Duration>,
}

impl Said {
    /// The answer in an error of the SDK, or why there is none.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Result<Self, Trouble>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Some(raw) = error.raw_response() else {
            return Err(trouble(error));
        };
        let headers = raw.headers().iter();
        let body = raw.body().bytes().unwrap_or_default();
        let answer = Answer::from_parts(raw.status().as_u16(), headers, body);
        let request_id = answer.guid("x-amzn-requestid").map(str::to_owned);
        let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
        let meta = meta.filter(|_| request_id.is_some());
        let text = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self {
            status: answer.status,
            code: text(meta.and_then(|meta| meta.code())),
            message: text(meta.and_then(|meta| meta.message())).unwrap_or_default(),
            retry_after: answer.retry_after(),
            request_id,
        })
    }

    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// Whether the service's sentence begins with this, or ends.
    pub fn begins(&self, with: &str) -> bool {
        self.message.starts_with(with)
    }

    pub fn ends(&self, with: &str) -> bool {
        self.message.ends_with(with)
    }

    /// Whether it is somewhere in the sentence.
    pub fn has(&self, what: &str) -> bool {
        self.message.contains(what)
    }

    /// Whether a refusal is that of a VPC endpoint, whose policy is its network's owner's; docs.aws.amazon.com,
    /// IAM User Guide, "Troubleshoot access denied error messages".
    pub fn is_of_endpoint(&self) -> bool {
        self.has("VPC endpoint policy")
    }

    /// Whether a refusal is by the policies of whoever asks, not by those of what is asked for; likewise.
    pub fn is_of_caller(&self) -> bool {
        [
            "identity-based policy",
            "service control policy",
            "permissions boundary",
            "session policy",
        ]
        .iter()
        .any(|policy| self.has(policy))
    }

    #[cfg(test)]
    pub fn test(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            code: (!code.is_empty()).then(|| code.to_owned()),
            message: message.to_owned(),
            ..Self::default()
        }
    }
}

fn trouble<E>(error: &SdkError<E, HttpResponse>) -> Trouble
where
    E: Error + 'static,
{
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(trouble) = cause.downcast_ref::<Trouble>() {
            return *trouble;
        }
        source = cause.source();
    }
    Trouble::Unsendable
}
