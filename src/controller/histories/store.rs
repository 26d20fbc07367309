//! The one place that survives: a record as bytes, under a version. Writes can fail before or after
//! they are applied, and the process can end at each; every applied write is judged by the ledger.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::cloud::{Cloud, FOREIGN};
use super::ledger::Ledger;
use crate::lock::lock;
use crate::provider::TenantId;
use crate::record::Record;
use crate::record::claims::{self, Listed};
use crate::record::store::{RecordStore, StoreError, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Refused,
    /// This one and all that follow, until something else happens.
    Outage,
    AnswerLost,
    CrashBefore,
    CrashAfter,
}

#[derive(Debug)]
struct State {
    secret: Option<Vec<u8>>,
    /// The same, where it is a record at all.
    record: Option<Arc<Record>>,
    version: u64,
    /// Which write is to go wrong, and how.
    fault: Option<(u32, Fault)>,
    reads_fail: bool,
    copies: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    pub ledger: Mutex<Ledger>,
    cloud: Arc<Cloud>,
}

impl Store {
    pub fn new(cloud: Arc<Cloud>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                secret: None,
                record: None,
                version: 0,
                fault: None,
                reads_fail: false,
                copies: Vec::new(),
            }),
            ledger: Mutex::default(),
            cloud,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub fn set_fault(&self, fault: Option<(u32, Fault)>) {
        self.lock().fault = fault;
    }

    pub fn set_reads_fail(&self, fail: bool) {
        self.lock().reads_fail = fail;
    }

    pub fn bytes(&self) -> Option<Vec<u8>> {
        self.lock().secret.clone()
    }

    /// What stands there, if it is a record at all.
    pub fn record(&self) -> Option<Arc<Record>> {
        self.lock().record.clone()
    }

    /// Somebody else puts this in its place.
    pub fn put(&self, bytes: Option<Vec<u8>>) {
        let mut state = self.lock();
        state.version += 1;
        state.record = bytes.as_deref().and_then(parsed);
        state.secret = bytes;
    }

    pub fn copy(&self) {
        let mut state = self.lock();
        if let Some(bytes) = state.secret.clone() {
            state.copies.push(bytes);
        }
    }

    pub fn drop_copies(&self) {
        self.lock().copies.clear();
    }

    pub fn copied(&self, which: u64) -> Option<Vec<u8>> {
        let state = self.lock();
        let many = u64::try_from(state.copies.len()).ok()?;
        let which = usize::try_from(which.checked_rem(many)?).ok()?;
        state.copies.get(which).cloned()
    }

    fn fault(&self) -> Option<Fault> {
        let mut state = self.lock();
        match state.fault.take()? {
            (0, Fault::Outage) => {
                state.fault = Some((0, Fault::Outage));
                Some(Fault::Outage)
            }
            (0, fault) => Some(fault),
            (left, fault) => {
                state.fault = Some((left - 1, fault));
                None
            }
        }
    }

    fn apply(&self, record: &Record, expected: Option<&Version>) -> Result<Version, StoreError> {
        let bytes = serde_json::to_vec(record).map_err(StoreError::Encode)?;
        let mut state = self.lock();
        let present = state.secret.as_ref().map(|_| state.version.to_string());
        if expected.map(|version| version.0.clone()) != present {
            return Err(StoreError::Conflict);
        }
        state.secret = Some(bytes);
        let before = state.record.replace(Arc::new(record.clone()));
        state.version += 1;
        let version = Version(state.version.to_string());
        drop(state);
        self.ledger().wrote(before.as_deref(), record, &self.cloud);
        Ok(version)
    }
}

fn parsed(bytes: &[u8]) -> Option<Arc<Record>> {
    serde_json::from_slice(bytes).ok().map(Arc::new)
}

/// The store as one process reaches it, which ends when `crash` is told.
#[derive(Debug)]
pub struct Reach {
    pub store: Arc<Store>,
    pub crash: Arc<Notify>,
}

impl Reach {
    async fn end<T>(&self) -> T {
        self.crash.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl RecordStore for Reach {
    async fn load(
        &self,
        tenant: &TenantId,
        namespace_uid: &str,
    ) -> Result<Option<(Record, Version)>, StoreError> {
        let state = self.store.lock();
        if state.reads_fail {
            return Err(StoreError::Deadline);
        }
        let Some(bytes) = &state.secret else {
            return Ok(None);
        };
        let record = Record::parse(bytes, tenant, namespace_uid).map_err(StoreError::Unusable)?;
        Ok(Some((record, Version(state.version.to_string()))))
    }

    async fn save(
        &self,
        _: &TenantId,
        record: &Record,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError> {
        match self.store.fault() {
            None => self.store.apply(record, expected),
            Some(Fault::Refused | Fault::Outage) => Err(StoreError::Deadline),
            Some(Fault::AnswerLost) => {
                let _ = self.store.apply(record, expected); // nobody hears
                Err(StoreError::Deadline)
            }
            Some(Fault::CrashBefore) => self.end().await,
            Some(Fault::CrashAfter) => {
                let _ = self.store.apply(record, expected); // nobody hears
                self.end().await
            }
        }
    }

    async fn claims(&self) -> Result<Listed, StoreError> {
        let other = TenantId::new("others", "globex");
        let mut listed = Listed::from([(other, claims::digest(FOREIGN))]);
        let claim = self.store.record().and_then(|record| record.claim.clone());
        if let Some(claim) = claim {
            listed.insert(super::process::tenant(), claims::digest(&claim));
        }
        Ok(listed)
    }
}
