//! How a tenant is brought back to the controller that looks at it, by whoever has something for it.

use std::collections::HashMap;
use std::sync::Mutex;

use futures::SinkExt;
use futures::channel::mpsc;

use crate::lock::lock;
use crate::provider::TenantId;

/// How many tenants may wait to be looked at.
const WAKES: usize = 4096;

/// One way to each watch: by its namespace, or none for the watch of all.
#[derive(Debug, Default)]
pub struct Wakes(Mutex<HashMap<Option<String>, mpsc::Sender<TenantId>>>);

impl Wakes {
    /// What the watch of this namespace, or of all, is to look at.
    pub fn of_watch(&self, namespace: Option<&str>) -> mpsc::Receiver<TenantId> {
        let (wake, woken) = mpsc::channel(WAKES);
        lock(&self.0).insert(namespace.map(str::to_owned), wake);
        woken
    }

    /// Waits while too many are to be looked at.
    pub async fn send(&self, id: &TenantId) {
        let watch = {
            let watches = lock(&self.0);
            let one = watches.get(&Some(id.namespace.clone()));
            one.or_else(|| watches.get(&None)).cloned()
        };
        if let Some(mut watch) = watch {
            let _ = watch.send(id.clone()).await; // closed only at shutdown
        }
    }
}
