//! Workload identity providers: which issuer's tokens a pool believes. Subjects are mapped as they are
//! (`google.subject=assertion.sub`).

use std::sync::Arc;

use crate::gcp::names;
use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) struct ProviderState {
    pub(crate) issuer: String,
    /// Empty is the default: the provider's own name as an https URL, or with `//`.
    pub(crate) audiences: Vec<String>,
    /// The attribute condition `assertion.sub == '…'`.
    pub(crate) only_subject: Option<String>,
    pub(crate) disabled: bool,
}

/// One provider of a workload identity pool.
#[derive(Debug, Clone)]
pub struct Provider {
    world: Arc<World>,
    name: String,
}

impl Provider {
    pub(crate) fn open(world: &Arc<World>, name: &str, issuer: &str) -> Self {
        names::provider(name)
            .expect("projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME");
        let state = ProviderState {
            issuer: issuer.to_owned(),
            audiences: Vec::new(),
            only_subject: None,
            disabled: false,
        };
        world
            .gcp()
            .providers
            .entry(name.to_owned())
            .or_insert(state);
        Self {
            world: world.clone(),
            name: name.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How bindings name one subject of its pool.
    pub fn principal(&self, subject: &str) -> String {
        principal(&self.name, subject)
    }

    pub fn disable(&self) {
        self.change(|state| state.disabled = true);
    }

    pub fn enable(&self) {
        self.change(|state| state.disabled = false);
    }

    /// Instead of the default ones.
    pub fn allow_audiences(&self, audiences: &[&str]) {
        self.change(|state| {
            state.audiences = audiences.iter().map(|&one| one.to_owned()).collect();
        });
    }

    /// An attribute condition that only this subject meets; `None` takes it away.
    pub fn only_subject(&self, subject: Option<&str>) {
        self.change(|state| state.only_subject = subject.map(str::to_owned));
    }

    pub fn set_issuer(&self, issuer: &str) {
        self.change(|state| issuer.clone_into(&mut state.issuer));
    }

    pub fn delete(&self) {
        self.world.gcp().providers.remove(&self.name);
    }

    fn change(&self, change: impl FnOnce(&mut ProviderState)) {
        if let Some(state) = self.world.gcp().providers.get_mut(&self.name) {
            change(state);
        }
    }
}

/// `principal://iam.googleapis.com/…/workloadIdentityPools/POOL/subject/SUBJECT`.
pub(crate) fn principal(provider: &str, subject: &str) -> String {
    let pool = provider.split("/providers/").next().unwrap_or_default();
    format!("principal://iam.googleapis.com/{pool}/subject/{subject}")
}
