//! The UID of a tenant's namespace. A tenant is bound to it: a namespace that was deleted and
//! created again may have another owner.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::lock::lock;

const DEADLINE: Duration = Duration::from_secs(4);
/// How far the API server's clock may be from ours.
const SKEW_SECONDS: i64 = 60;
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
    known: Mutex<HashMap<String, (String, Timestamp)>>,
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

    /// The UID of the namespace that holds an object created at `created`. An answer that is
    /// newer than the object holds for it: the object has lived in that same namespace since.
    pub async fn uid(
        &self,
        name: &str,
        created: Timestamp,
        now: Timestamp,
    ) -> Result<String, NamespaceError> {
        if let Some((uid, read)) = lock(&self.known).get(name)
            && created.as_second() + SKEW_SECONDS < read.as_second()
        {
            return Ok(uid.clone());
        }
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
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(name.to_owned(), (uid.clone(), now));
        Ok(uid)
    }
}
