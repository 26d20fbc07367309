//! Everything one fake cloud knows, shared by its listeners and its handles. It must never outlive its cloud's
//! listeners in a way that matters: no task is started from here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use serde_json::Value;

use crate::aws;
use crate::azure;
use crate::calls::Ledger;
use crate::crypto::{Rsa, pooled_rsa};
use crate::faults::Table;
use crate::gcp;
use crate::jwt::Signer;
use crate::port::Listening;
use crate::tls::Authority;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) azure: Mutex<azure::State>,
    aws: Mutex<aws::State>,
    gcp: Mutex<gcp::State>,
    /// JWKS by issuer, for federated assertions.
    pub(crate) trusted: Mutex<HashMap<String, Value>>,
    pub(crate) calls: Ledger,
    pub(crate) faults: Table,
    pub(crate) tls: Authority,
    pub(crate) imds: Listening,
    pub(crate) metadata: Listening,
    signer: OnceLock<Signer>,
    /// How many RSA keys this cloud has taken.
    keys: AtomicUsize,
}

impl World {
    pub(crate) fn new(tls: Authority, imds: Listening, metadata: Listening) -> Self {
        Self {
            azure: Mutex::default(),
            aws: Mutex::default(),
            gcp: Mutex::default(),
            trusted: Mutex::default(),
            calls: Ledger::default(),
            faults: Table::default(),
            tls,
            imds,
            metadata,
            signer: OnceLock::new(),
            keys: AtomicUsize::new(0),
        }
    }

    /// The key that signs this cloud's access tokens; made at first use, because an RSA key costs more than a start.
    pub(crate) fn signer(&self) -> &Signer {
        self.signer.get_or_init(|| Signer::new(self.rsa(2048)))
    }

    /// An RSA key that this cloud has not used yet.
    pub(crate) fn rsa(&self, bits: usize) -> Arc<Rsa> {
        pooled_rsa(bits, self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// A token with these claims, signed as this cloud signs its own and remembered as a secret.
    pub(crate) fn sign_token(&self, claims: &Value) -> String {
        let token = self.signer().sign(claims);
        self.calls.secret(&token);
        token
    }

    pub(crate) fn azure(&self) -> MutexGuard<'_, azure::State> {
        lock(&self.azure)
    }

    pub(crate) fn aws(&self) -> MutexGuard<'_, aws::State> {
        lock(&self.aws)
    }

    pub(crate) fn gcp(&self) -> MutexGuard<'_, gcp::State> {
        lock(&self.gcp)
    }
}

/// A panic in one handler must not turn every later call of the test into another panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
