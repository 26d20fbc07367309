//! The UID of a tenant's namespace. A tenant is bound to it: a namespace that was deleted and
//! created again may have another owner.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::lock::lock;

const DEADLINE: Duration = Duration::from_secs(4);
const MOST: usize = 20_000;
/// How many are read at once; each read has a connection, which stays for a while.
const AT_ONCE: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error("the namespace could not be read")]
    Api(#[source] Box<kube::Error>),
    #[error("the API server did not answer in {} s", DEADLINE.as_secs())]
    Deadline,
}

pub struct Namespaces {
    api: Api<Namespace>,
    reads: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    uids: HashMap<String, String>,
    /// How often something was forgotten: what was asked for before may not hold any more.
    forgotten: u64,
}

impl std::fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespaces").finish_non_exhaustive()
    }
}

impl Namespaces {
    pub fn new(client: Client) -> Self {
        Self {
            api: Api::all(client),
            reads: Semaphore::new(AT_ONCE),
            known: Mutex::default(),
        }
    }

    /// Whether the namespace is being deleted, or gone.
    pub async fn ends(&self, name: &str) -> Result<bool, NamespaceError> {
        let namespace = timeout(DEADLINE, self.api.get_metadata_opt(name))
            .await
            .map_err(|_| NamespaceError::Deadline)?
            .map_err(|error| NamespaceError::Api(Box::new(error)))?;
        Ok(namespace.is_none_or(|one| one.metadata.deletion_timestamp.is_some()))
    }

    /// An object of the namespace is new, or gone: who asks from now on is told what holds from now on. A
    /// namespace ends after all its objects, and its successor's are new.
    pub fn forget(&self, name: &str) {
        let mut known = lock(&self.known);
        known.uids.remove(name);
        known.forgotten += 1;
    }

    /// The UID of the namespace that holds the objects that were seen there.
    pub async fn uid(&self, name: &str) -> Result<String, NamespaceError> {
        let forgotten = {
            let known = lock(&self.known);
            if let Some(uid) = known.uids.get(name) {
                return Ok(uid.clone());
            }
            known.forgotten
        };
        let read = async {
            let _permit = self.reads.acquire().await; // never closed
            self.api.get_metadata(name).await
        };
        let namespace = timeout(DEADLINE, read)
            .await
            .map_err(|_| NamespaceError::Deadline)?
            .map_err(|error| NamespaceError::Api(Box::new(error)))?;
        let uid = namespace.uid().unwrap_or_default();
        let mut known = lock(&self.known);
        if known.forgotten == forgotten {
            if known.uids.len() >= MOST {
                known.uids.clear();
            }
            known.uids.insert(name.to_owned(), uid.clone());
        }
        Ok(uid)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::get;
    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_was_asked_for_before_an_object_came_or_went_is_not_kept() {
        let uid = Arc::new(Mutex::new("former"));
        let (asked, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let namespace = {
            let (uid, asked, goes_on) = (uid.clone(), asked.clone(), goes_on.clone());
            async move || {
                let uid = *lock(&uid);
                asked.notify_one();
                goes_on.notified().await;
                axum::Json(json!({ "metadata": { "name": "tenants", "uid": uid } }))
            }
        };
        let api = Router::new().route("/api/v1/namespaces/{name}", get(namespace));
        let namespaces = Namespaces::new(Client::new(api, "tenants"));
        let made_again = async {
            asked.notified().await;
            *lock(&uid) = "new";
            namespaces.forget("tenants");
            goes_on.notify_one();
        };
        let (answer, ()) = tokio::join!(namespaces.uid("tenants"), made_again);
        assert_eq!(answer.expect("answered"), "former");
        goes_on.notify_one();
        for _ in 0..2 {
            let answer = namespaces.uid("tenants").await;
            assert_eq!(answer.expect("answered, once"), "new");
        }
    }
}
