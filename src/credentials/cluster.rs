//! What a tenant's namespace lends to the operator: one Secret, or the identity of one
//! `ServiceAccount`. Fetched by name each time it is used; nothing is listed, watched or kept, and
//! nothing is used without the label that lends it to exactly this tenant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, TokenRequest, TokenRequestSpec, TokenRequestStatus,
};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use zeroize::{Zeroize, Zeroizing};

use super::rights::{self, Lent};
use super::secret::Secret;
use crate::provider::{Failure, TenantId};

/// The label by which its owner lends a Secret or a `ServiceAccount` to the tenant it names.
pub const TENANT_LABEL: &str = "tenantkms.dev/tenant";

/// For everything that one credential needs of the API server.
const DEADLINE: Duration = Duration::from_secs(4);
/// The shortest life of a token that the API server grants.
const TOKEN_SECONDS: i64 = 600;

/// The API server as a place where credentials are lent; without one, nothing is.
#[derive(Clone, Default)]
pub struct Cluster {
    client: Option<Client>,
    /// The operator's own user name, for the commands in messages.
    me: Arc<OnceCell<String>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    pub fn new(client: Client) -> Self {
        Self {
            client: Some(client),
            me: Arc::default(),
        }
    }

    /// The value under `key` of the Secret `name` in the tenant's namespace.
    pub async fn secret(
        &self,
        tenant: &TenantId,
        name: &str,
        key: &str,
    ) -> Result<Secret, Failure> {
        let lent = Lent::Secret(name);
        let mut value = self.value(tenant, lent, key).await?;
        Secret::from_bytes(std::mem::take(&mut *value))
            .map_err(|why| rights::without_key(lent, tenant, why))
    }

    /// The bytes under `key` of a Secret in the tenant's namespace.
    pub async fn value(
        &self,
        tenant: &TenantId,
        lent: Lent<'_>,
        key: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let client = self.client(lent)?;
        let name = lent.object();
        let secrets: Api<core::Secret> = Api::namespaced(client.clone(), &tenant.namespace);
        let found = bounded(secrets.get(name)).await;
        let mut secret = self.taken(found, lent, tenant).await?;
        let value = secret.data.as_mut().and_then(|data| data.remove(key));
        wipe(&mut secret);
        let value = value.map(|value| Zeroizing::new(value.0));
        is_lent(&secret.metadata, lent, tenant)?;
        value.ok_or_else(|| rights::without_key(lent, tenant, "has no such key"))
    }

    /// A new token of the `ServiceAccount` `name` in the tenant's namespace, for this audience.
    pub async fn token(
        &self,
        tenant: &TenantId,
        name: &str,
        audience: &str,
    ) -> Result<Secret, Failure> {
        let lent = Lent::ServiceAccount(name);
        let client = self.client(lent)?;
        let accounts: Api<core::ServiceAccount> =
            Api::namespaced(client.clone(), &tenant.namespace);
        let account = bounded(accounts.get(name)).await;
        let account = self.taken(account, lent, tenant).await?;
        is_lent(&account.metadata, lent, tenant)?;
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.to_owned()],
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let granted = bounded(accounts.create_token_request(name, &params, &request)).await;
        let granted = self.taken(granted, lent, tenant).await?;
        let token = granted.status.map(|TokenRequestStatus { token, .. }| token);
        token
            .and_then(|token| Secret::from_bytes(token.into_bytes()).ok())
            .ok_or_else(|| rights::silent(lent))
    }

    fn client(&self, lent: Lent<'_>) -> Result<&Client, Failure> {
        self.client.as_ref().ok_or_else(|| rights::no_cluster(lent))
    }

    async fn taken<T>(
        &self,
        answer: Result<T, Trouble>,
        lent: Lent<'_>,
        tenant: &TenantId,
    ) -> Result<T, Failure> {
        match answer {
            Ok(found) => Ok(found),
            Err(Trouble::Status(404)) => Err(rights::not_found(lent, tenant)),
            Err(Trouble::Status(403)) => Err(rights::forbidden(lent, tenant, self.me().await)),
            Err(Trouble::Status(_) | Trouble::Silent) => Err(rights::silent(lent)),
        }
    }

    /// Who the operator is for the API server, as that server says.
    pub async fn me(&self) -> Option<&str> {
        let client = self.client.clone()?;
        let ask = async {
            let reviews: Api<SelfSubjectReview> = Api::all(client);
            let review = SelfSubjectReview::default();
            let answer = bounded(reviews.create(&PostParams::default(), &review)).await?;
            let user = answer.status.and_then(|status| status.user_info);
            user.and_then(|user| user.username).ok_or(Trouble::Silent)
        };
        self.me
            .get_or_try_init(|| ask)
            .await
            .ok()
            .map(String::as_str)
    }
}

/// Why the API server gave nothing.
enum Trouble {
    Status(u16),
    Silent,
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match timeout(DEADLINE, call).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(kube::Error::Api(status))) => Err(Trouble::Status(status.code)),
        Ok(Err(_)) | Err(_) => Err(Trouble::Silent),
    }
}

fn is_lent(metadata: &ObjectMeta, lent: Lent<'_>, tenant: &TenantId) -> Result<(), Failure> {
    let labels = metadata.labels.as_ref();
    let named = labels.and_then(|labels| labels.get(TENANT_LABEL));
    if named.is_some_and(|named| *named == tenant.name) {
        return Ok(());
    }
    Err(rights::not_lent(lent, tenant, named.is_some()))
}

fn wipe(secret: &mut core::Secret) {
    for value in secret.data.iter_mut().flat_map(|data| data.values_mut()) {
        value.0.zeroize();
    }
}
