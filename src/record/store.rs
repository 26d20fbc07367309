//! Where records are kept: one Secret per tenant in the records namespace. Every write carries
//! the version that was read, so a stale holder can overwrite nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::claims::{self, Listed};
use super::{Record, Unusable};
use crate::provider::TenantId;
use crate::random::encode_hex;

const SECRET_TYPE: &str = "tenantkms.dev/record";
const DATA_KEY: &str = "record.json";
const DEADLINE: Duration = Duration::from_secs(4);
const PAGE: u32 = 500;
/// How many calls are under way at once; each has a connection, which stays for a while.
const AT_ONCE: usize = 64;

/// The version of a stored record, as the API server counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub(crate) String);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the record was changed by somebody else")]
    Conflict,
    #[error("the record cannot be used")]
    Unusable(Unusable),
    #[error("the API server refused or did not answer")]
    Api(#[source] Box<kube::Error>),
    #[error("the API server did not answer in {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("a record could not be encoded")]
    Encode(#[source] serde_json::Error),
}

#[async_trait]
pub trait RecordStore: Send + Sync {
    async fn load(
        &self,
        tenant: &TenantId,
        namespace_uid: &str,
    ) -> Result<Option<(Record, Version)>, StoreError>;

    /// Creates (`expected` is `None`) or replaces exactly the expected version.
    async fn save(
        &self,
        tenant: &TenantId,
        record: &Record,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError>;

    /// Every claim on record.
    async fn claims(&self) -> Result<Listed, StoreError>;
}

/// The name of a tenant's record: `tkms-` and 32 hex digits of sha256(namespace/name).
pub fn secret_name(tenant: &TenantId) -> String {
    let hash = digest::digest(&digest::SHA256, tenant.to_string().as_bytes());
    format!("tkms-{}", encode_hex(&hash.as_ref()[..16]))
}

pub struct KubeStore {
    secrets: Api<Secret>,
    calls: Semaphore,
}

impl std::fmt::Debug for KubeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeStore").finish_non_exhaustive()
    }
}

impl KubeStore {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            calls: Semaphore::new(AT_ONCE),
        }
    }

    /// What is stored for a tenant as it stands, whoever may use it: for backups.
    pub async fn stored(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        let secret = self
            .within(self.secrets.get_opt(&secret_name(tenant)))
            .await?;
        Ok(secret.map(|secret| {
            let version = Version(secret.resource_version().unwrap_or_default());
            (body(secret).unwrap_or_default(), version)
        }))
    }

    /// The other record that has the same tenant uid, if any: it is named as it names its tenant,
    /// or as its Secret.
    pub async fn another(
        &self,
        tenant: &TenantId,
        tenant_uid: &str,
    ) -> Result<Option<String>, StoreError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            tenant_uid: String,
            tenant: Option<String>,
        }
        let own = secret_name(tenant);
        let mut params = ListParams::default()
            .fields(&format!("type={SECRET_TYPE}"))
            .limit(PAGE);
        loop {
            let page = self.within(self.secrets.list(&params)).await?;
            for secret in page.items {
                let name = secret.name_any();
                let named = body(secret).and_then(|body| serde_json::from_slice(&body).ok());
                if let Some(named) = named.filter(|one: &Named| one.tenant_uid == tenant_uid)
                    && name != own
                {
                    return Ok(Some(named.tenant.unwrap_or(name)));
                }
            }
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => return Ok(None),
            }
        }
    }

    fn secret(
        tenant: &TenantId,
        record: &Record,
        expected: Option<&Version>,
    ) -> Result<Secret, StoreError> {
        let body = serde_json::to_vec(record).map_err(StoreError::Encode)?;
        let mut labels = BTreeMap::from([
            (
                "app.kubernetes.io/managed-by".to_owned(),
                "tenant-kms-operator".to_owned(),
            ),
            (claims::NAMESPACE_LABEL.to_owned(), tenant.namespace.clone()),
            (claims::NAME_LABEL.to_owned(), tenant.name.clone()),
        ]);
        if let Some(claim) = &record.claim {
            labels.insert(claims::CLAIM_LABEL.to_owned(), claims::digest(claim));
        }
        Ok(Secret {
            metadata: ObjectMeta {
                name: Some(secret_name(tenant)),
                labels: Some(labels),
                resource_version: expected.map(|version| version.0.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(body))])),
            ..Secret::default()
        })
    }

    /// The answer to a call, which waits for its turn as long as it may take.
    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, StoreError> {
        let call = async {
            let _permit = self.calls.acquire().await; // never closed
            call.await
        };
        match timeout(DEADLINE, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() =>
            {
                Err(StoreError::Conflict)
            }
            // A replaced record that is gone was deleted by somebody: read again.
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Err(StoreError::Conflict),
            Ok(Err(error)) => Err(StoreError::Api(Box::new(error))),
            Err(_) => Err(StoreError::Deadline),
        }
    }
}

fn body(secret: Secret) -> Option<Vec<u8>> {
    secret.data?.remove(DATA_KEY).map(|body| body.0)
}

#[async_trait]
impl RecordStore for KubeStore {
    async fn load(
        &self,
        tenant: &TenantId,
        namespace_uid: &str,
    ) -> Result<Option<(Record, Version)>, StoreError> {
        let Some(secret) = self
            .within(self.secrets.get_opt(&secret_name(tenant)))
            .await?
        else {
            return Ok(None);
        };
        let version = Version(secret.resource_version().unwrap_or_default());
        let body = body(secret).ok_or(StoreError::Unusable(Unusable::Corrupt))?;
        let record = Record::parse(&body, tenant, namespace_uid).map_err(StoreError::Unusable)?;
        Ok(Some((record, version)))
    }

    async fn save(
        &self,
        tenant: &TenantId,
        record: &Record,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError> {
        let secret = Self::secret(tenant, record, expected)?;
        let name = secret_name(tenant);
        let params = PostParams::default();
        let saved = match expected {
            Some(_) => {
                self.within(self.secrets.replace(&name, &params, &secret))
                    .await?
            }
            None => self.within(self.secrets.create(&params, &secret)).await?,
        };
        Ok(Version(saved.resource_version().unwrap_or_default()))
    }

    async fn claims(&self) -> Result<Listed, StoreError> {
        let mut all = Listed::new();
        // Only records count: any other Secret may be written by whoever may write Secrets here.
        let mut params = ListParams::default()
            .labels(claims::CLAIM_LABEL)
            .fields(&format!("type={SECRET_TYPE}"))
            .limit(PAGE);
        loop {
            let page = self.within(self.secrets.list_metadata(&params)).await?;
            all.extend(
                page.items
                    .iter()
                    .filter_map(|one| claims::listed(one.labels())),
            );
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => return Ok(all),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_stable_name() {
        let tenant = TenantId::new("tenants", "acme");
        // printf tenants/acme | sha256sum | cut -c1-32
        assert_eq!(
            secret_name(&tenant),
            "tkms-499dce838dc092f0caf158dfd8ee5ddd"
        );
    }
}
