//! Faults that a test arms: which requests they hit and what then happens instead of, before or to the true answer.
//! A fault never changes the cloud's state, so clearing it leaves the truth as it was.

use std::sync::Mutex;

use crate::calls::Call;
use crate::effects::Effect;
use crate::world::lock;

/// Names an armed fault.
pub type FaultId = u64;

/// An effect and the requests it hits.
#[derive(Debug, Clone)]
pub struct Fault {
    /// A host, or `*`.
    pub host: String,
    /// As in [`Call::operation`]; `None` is any but `connect`. `connect` is the proxy's own answer to CONNECT.
    pub operation: Option<String>,
    /// Object id of the caller.
    pub principal: Option<String>,
    /// How many requests it hits; `None` is all until cleared.
    pub times: Option<u32>,
    pub effect: Effect,
}

impl Fault {
    /// A fault on every operation of `host` (or `*`).
    pub fn on(host: &str, effect: Effect) -> Self {
        Self {
            host: host.to_owned(),
            operation: None,
            principal: None,
            times: None,
            effect,
        }
    }

    #[must_use]
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    #[must_use]
    pub fn principal(mut self, principal: &str) -> Self {
        self.principal = Some(principal.to_owned());
        self
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn hits(&self, call: &Call) -> bool {
        let operation = match self.operation.as_deref() {
            None => call.operation != "connect",
            Some(operation) => operation == call.operation,
        };
        let principal = self.principal.is_none() || self.principal == call.principal;
        self.times != Some(0) && operation && principal && call.is(&self.host, "*")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<(FaultId, Vec<(FaultId, Fault)>)>);

impl Table {
    pub(crate) fn arm(&self, fault: Fault) -> FaultId {
        let mut table = lock(&self.0);
        table.0 += 1;
        let id = table.0;
        table.1.push((id, fault));
        id
    }

    pub(crate) fn clear(&self, id: FaultId) {
        lock(&self.0).1.retain(|(known, _)| *known != id);
    }

    pub(crate) fn clear_all(&self) {
        lock(&self.0).1.clear();
    }

    /// The effect of the fault armed last that hits this call; counts it.
    pub(crate) fn hit(&self, call: &Call) -> Option<Effect> {
        let mut table = lock(&self.0);
        let (_, fault) = table
            .1
            .iter_mut()
            .rev()
            .find(|(_, fault)| fault.hits(call))?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.effect.clone())
    }
}
