//! Service accounts as their owner changes them. Who may become one is a role on it, like any other.

use std::sync::Arc;

use crate::gcp::{Gcp, names};
use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) disabled: bool,
}

/// One service account.
#[derive(Debug, Clone)]
pub struct ServiceAccount {
    world: Arc<World>,
    email: String,
}

impl ServiceAccount {
    pub(crate) fn open(world: &Arc<World>, email: &str) -> Self {
        let project = names::account_project(email).expect("NAME@PROJECT.iam.gserviceaccount.com");
        Gcp::open(world).project(project);
        world.gcp().accounts.entry(email.to_owned()).or_default();
        Self {
            world: world.clone(),
            email: email.to_owned(),
        }
    }

    pub fn email(&self) -> &str {
        &self.email
    }

    /// As IAM names it in bindings.
    pub fn member(&self) -> String {
        format!("serviceAccount:{}", self.email)
    }

    /// As IAM names it as a resource.
    pub fn resource(&self) -> String {
        resource(&self.email)
    }

    pub fn disable(&self) {
        self.change(true);
    }

    pub fn enable(&self) {
        self.change(false);
    }

    /// Its tokens end with it.
    pub fn delete(&self) {
        self.world.gcp().accounts.remove(&self.email);
    }

    fn change(&self, disabled: bool) {
        if let Some(account) = self.world.gcp().accounts.get_mut(&self.email) {
            account.disabled = disabled;
        }
    }
}

/// `projects/P/serviceAccounts/EMAIL`.
pub(crate) fn resource(email: &str) -> String {
    let project = names::account_project(email).unwrap_or("-");
    format!("projects/{project}/serviceAccounts/{email}")
}
