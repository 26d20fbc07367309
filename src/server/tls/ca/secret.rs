//! The Secret with the authority, in the records namespace. Every write carries the version that was
//! read: of two replicas that want to make an authority, one finds that there is one.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Trouble;
use super::authority::{self, Authority};
use crate::controller::lease::describe;

pub const SECRET: &str = "tenant-kms-agent-ca";
const TYPE: &str = "tenantkms.dev/agent-ca";
const DATA_KEY: &str = "agent-ca.json";
const DEADLINE: Duration = Duration::from_secs(4);

/// The stored version; `None`: there is no Secret.
pub type Version = Option<String>;

pub struct Store {
    secrets: Api<Secret>,
    namespace: String,
}

impl Store {
    pub fn new(client: Client, namespace: String) -> Self {
        Self {
            secrets: Api::namespaced(client, &namespace),
            namespace,
        }
    }

    pub async fn load(&self) -> Result<(Vec<Authority>, Version), Trouble> {
        let Some(secret) = self.within(self.secrets.get_opt(SECRET)).await? else {
            return Ok((Vec::new(), None));
        };
        let version = Some(secret.resource_version().unwrap_or_default());
        let unusable = |why| Trouble::Unusable {
            namespace: self.namespace.clone(),
            why,
        };
        if secret.type_.as_deref() != Some(TYPE) {
            return Err(unusable(
                "it is of another type, so the operator did not write it",
            ));
        }
        let body = secret.data.and_then(|mut data| data.remove(DATA_KEY));
        let body = Zeroizing::new(body.unwrap_or_default().0);
        let authorities = authority::read(&body).map_err(unusable)?;
        Ok((authorities, version))
    }

    /// Creates it, or replaces exactly this version.
    pub async fn save(&self, all: &[Authority], expected: &Version) -> Result<Version, Trouble> {
        let mut body =
            authority::write(all).map_err(|_| Trouble::Unmade("it cannot be encoded"))?;
        let body = ByteString(std::mem::take(&mut *body));
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                labels: Some(labels()),
                resource_version: expected.clone(),
                ..ObjectMeta::default()
            },
            type_: Some(TYPE.to_owned()),
            data: Some(BTreeMap::from([(DATA_KEY.to_owned(), body)])),
            ..Secret::default()
        };
        let params = PostParams::default();
        let saved = match expected {
            Some(_) => {
                self.within(self.secrets.replace(SECRET, &params, &secret))
                    .await
            }
            None => self.within(self.secrets.create(&params, &secret)).await,
        };
        for value in secret.data.into_iter().flat_map(BTreeMap::into_values) {
            drop(Zeroizing::new(value.0));
        }
        Ok(Some(saved?.resource_version().unwrap_or_default()))
    }

    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, Trouble> {
        match timeout(DEADLINE, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Trouble::Conflict),
            Ok(Err(error @ kube::Error::Api(_))) => Err(Trouble::Refused {
                namespace: self.namespace.clone(),
                answer: describe(&error),
            }),
            Ok(Err(_)) | Err(_) => Err(Trouble::Silent),
        }
    }
}

/// On everything that the operator writes for the authority.
pub fn labels() -> BTreeMap<String, String> {
    let by = ("app.kubernetes.io/managed-by", "tenant-kms-operator");
    BTreeMap::from([(by.0.to_owned(), by.1.to_owned())])
}
