//! What every reconciliation shares: clients, the tenants' memory, limits. No decisions here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc;
use kube::Client;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};

use super::attempt::OpenAttempts;
use super::events::Events;
use super::lease::Ownership;
use super::tenant::Tenant;
use super::writes::Gate;
use super::Guarded;
use crate::clock::{Clock, Moment};
use crate::policy::Policy;
use crate::provider::{Providers, TenantId};
use crate::record::claims::Claims;
use crate::record::store::RecordStore;
use crate::server::metrics::Metrics;

/// One tenant's memory with its open attempts. Attempts end when this is dropped.
#[derive(Debug)]
pub struct Entry {
    pub tenant: Tenant,
    pub open: OpenAttempts,
    /// Reports and records that the API server did not take, in a row.
    pub api_failures: u32,
    /// The policy that was looked at last.
    pub policy: Option<Arc<Policy>>,
}

pub struct Context {
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub providers: Arc<Providers>,
    pub policy: watch::Receiver<Arc<Policy>>,
    pub records: Arc<dyn RecordStore>,
    pub records_namespace: String,
    pub installation: String,
    pub claims: Mutex<Option<Claims>>,
    pub ownership: watch::Receiver<Ownership>,
    pub gate: Arc<Gate>,
    pub events: Events,
    pub metrics: Arc<Metrics>,
    /// How many attempts may be under way at once.
    pub attempts: Arc<Semaphore>,
    pub wake: mpsc::Sender<ObjectRef<Guarded>>,
    tenants: Mutex<HashMap<TenantId, Arc<AsyncMutex<Entry>>>>,
    namespaces: Mutex<HashMap<String, String>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}
