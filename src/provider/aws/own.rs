//! The operator's own identity in AWS: what the pod was given, chosen once at start. There is never a
//! fallback from one to another.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use serde::Deserialize;

use super::classify::{self, Service};
use super::endpoint::Region;
use super::sts;
use super::subject::Subject;
use super::transport::Transport;
use crate::api::Reason;
use crate::clock::{Clock, Moment, SystemClock};
use crate::credentials::Secret;
use crate::lock::lock;
use crate::provider::Failure;
use crate::provider::answer::{Answer, Trouble};
use crate::provider::http::receive;
use crate::provider::shared::{LONGEST, Shared};

/// More than there are; beyond it their sessions are had anew.
const REGIONS: usize = 200;
/// Of a token of the metadata service, which is used at once.
const METADATA_SECONDS: &str = "60";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";
/// In CloudTrail. All tenants share it, so it names none of them.
const SESSION_NAME: &str = "tenant-kms-operator";

/// What gives the pod its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    /// A projected token and a role (EKS: "IAM roles for service accounts").
    WebIdentity { role: String, file: PathBuf },
    /// The agent of EKS Pod Identity, asked with a projected token.
    PodIdentity { url: String, file: PathBuf },
    /// The node's instance profile.
    InstanceProfile,
}

#[derive(Clone)]
pub struct Own {
    given: Given,
    clock: Arc<dyn Clock>,
    /// By region where STS of the key's own region gives them.
    shared: Arc<Mutex<HashMap<Option<Region>, Shared<Credentials>>>>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

impl Own {
    pub fn from_environment() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// By the variables that EKS's webhook and agent set in a pod.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let both = |one, other| set(one).zip(set(other).map(PathBuf::from));
        let web = both("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE");
        let pod = both(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        );
        let given = match (web, pod) {
            (Some((role, file)), _) => Given::WebIdentity { role, file },
            (None, Some((url, file))) => Given::PodIdentity { url, file },
            (None, None) => Given::InstanceProfile,
        };
        Self {
            given,
            clock: Arc::new(SystemClock),
            shared: Arc::default(),
        }
    }

    /// The role, where the pod was told its name.
    pub fn role(&self) -> Option<&str> {
        match &self.given {
            Given::WebIdentity { role, .. } => Some(role),
            _ => None,
        }
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// A session of the operator itself, begun `since` then or shortly before.
    pub async fn session(
        &self,
        transport: &Transport,
        subject: &Subject,
        since: Option<Moment>,
    ) -> Result<Credentials, Failure> {
        let shared = self.shared(&subject.key.region);
        let fetch = || {
            let (own, transport, subject) = (self.clone(), transport.clone(), subject.clone());
            async move {
                let session = own.fetch(&transport, &subject).await?;
                Ok((session, LONGEST))
            }
        };
        let late = || classify::trouble(Trouble::Timeout, self.service(), subject);
        shared.get(since, fetch, late).await
    }

    fn shared(&self, region: &Region) -> Shared<Credentials> {
        let region = (self.service() == Service::Sts).then(|| region.clone());
        let mut all = lock(&self.shared);
        if all.len() >= REGIONS && !all.contains_key(&region) {
            all.clear();
        }
        let shared = all.entry(region);
        shared
            .or_insert_with(|| Shared::new(self.clock.clone()))
            .clone()
    }

    const fn service(&self) -> Service {
        match self.given {
            Given::WebIdentity { .. } => Service::Sts,
            Given::PodIdentity { .. } | Given::InstanceProfile => Service::Metadata,
        }
    }

    /// One that is good for longer than it is used: STS grants none for less than 15 minutes, and an instance
    /// has "new credentials available at least five minutes before the expiration of the old credentials"
    /// (docs.aws.amazon.com, Amazon EC2 User Guide, "Retrieve security credentials from instance metadata").
    async fn fetch(
        &self,
        transport: &Transport,
        subject: &Subject,
    ) -> Result<Credentials, Failure> {
        match &self.given {
            Given::WebIdentity { role, file } => {
                let token = read(file, "AWS_WEB_IDENTITY_TOKEN_FILE")?;
                let assumed = sts::with_token(transport, subject, role, SESSION_NAME, &token).await;
                assumed.map_err(|refused| {
                    refused.failure(subject, |said| {
                        classify::own_web_identity(said, role, subject)
                    })
                })
            }
            Given::PodIdentity { url, file } => {
                let token = read(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?;
                let request = transport.metadata.get(url);
                let request = request.header("authorization", token.expose());
                credentials(&ask(request, subject).await?)
            }
            Given::InstanceProfile => {
                let at = |path: &str| format!("{}/{path}", transport.imds);
                let begin = transport.metadata.put(at("latest/api/token"));
                let begin = begin.header("x-aws-ec2-metadata-token-ttl-seconds", METADATA_SECONDS);
                let token = line(ask(begin, subject).await?)?;
                let get = |url: String| {
                    let request = transport.metadata.get(url);
                    request.header("x-aws-ec2-metadata-token", &token)
                };
                let role = line(ask(get(at(ROLES)), subject).await?)?;
                credentials(&ask(get(format!("{}{role}", at(ROLES))), subject).await?)
            }
        }
    }
}

fn read(file: &std::path::Path, variable: &str) -> Result<Secret, Failure> {
    Secret::from_path(file).map_err(|why| {
        Failure::misconfigured(
            Reason::IdentityUnavailable,
            format!(
                "the operator's own token {why}. Check the projected volume that {variable} names: \
                 kubectl get pod '<pod>' --namespace '<namespace>' --output yaml"
            ),
        )
    })
}

/// An answer of 200, without asking twice.
async fn ask(request: reqwest::RequestBuilder, subject: &Subject) -> Result<Answer, Failure> {
    let answer = receive(request.send().await).await;
    let answer =
        answer.map_err(|trouble| classify::trouble(trouble, Service::Metadata, subject))?;
    if answer.status == 200 {
        Ok(answer)
    } else {
        Err(classify::metadata(&answer))
    }
}

/// A word that may stand in a header or a path.
fn line(answer: Answer) -> Result<String, Failure> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(b);
    let body = answer.into_body();
    if body.is_empty() || body.len() > 1024 || !body.iter().all(plain) {
        return Err(garbage());
    }
    String::from_utf8(body).map_err(|_| garbage())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    access_key_id: String,
    secret_access_key: String,
    token: String,
}

fn credentials(answer: &Answer) -> Result<Credentials, Failure> {
    let body: Body = serde_json::from_slice(answer.body()).map_err(|_| garbage())?;
    Ok(Credentials::new(
        body.access_key_id,
        body.secret_access_key,
        Some(body.token),
        None,
        "tenant-kms",
    ))
}

fn garbage() -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "what gives the operator's pod its identity in AWS answered with something that is no \
             credential: {}",
            classify::reach_metadata()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(set: &[(&str, &str)]) -> Given {
        let variable = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Own::of(variable).given
    }

    #[test]
    fn what_the_pod_was_given_is_chosen_by_its_variables() {
        let web = [
            ("AWS_ROLE_ARN", "arn"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ];
        let pod = [
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23/v1/credentials",
            ),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token"),
        ];
        assert!(matches!(given(&web), Given::WebIdentity { .. }));
        assert!(matches!(given(&pod), Given::PodIdentity { .. }));
        assert!(matches!(
            given(&[web, pod].concat()),
            Given::WebIdentity { .. }
        ));
        for part in [&web[..1], &pod[..1], &[], &[("AWS_ROLE_ARN", ""), web[1]]] {
            assert_eq!(given(part), Given::InstanceProfile);
        }
    }

    #[test]
    fn a_word_of_the_metadata_service_cannot_leave_its_place() {
        let word =
            |text: &str| line(Answer::from_parts(200, std::iter::empty(), text.as_bytes())).is_ok();
        assert!(word("operator") && word("AQAEA-x_y=="));
        for text in ["", "../x", "a/b", "a b", "a\nb", "a?b"] {
            assert!(!word(text), "{text:?}");
        }
    }
}
