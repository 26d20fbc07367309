//! Directories (tenants) and the applications in them, as an administrator changes them. An application here is app
//! registration and service principal in one; what a change means for tokens is Entra's business, not this file's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::uuid;
use crate::world::World;

#[derive(Debug)]
pub(crate) struct DirectoryState {
    pub(crate) applications: HashMap<String, ApplicationState>,
    pub(crate) token_lifetime: Duration,
}

#[derive(Debug)]
pub(crate) struct ApplicationState {
    pub(crate) principal: String,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) federations: Vec<Federation>,
    pub(crate) disabled: bool,
    pub(crate) deleted: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Secret {
    pub(crate) value: String,
    pub(crate) expired: bool,
}

/// A federated credential: whose tokens stand in for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Federation {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
}

impl Default for DirectoryState {
    fn default() -> Self {
        Self {
            applications: HashMap::new(),
            token_lifetime: Duration::from_secs(3599),
        }
    }
}

/// One directory.
#[derive(Debug, Clone)]
pub struct Directory {
    world: Arc<World>,
    tenant: String,
}

impl Directory {
    pub(crate) fn open(world: &Arc<World>, tenant: &str) -> Self {
        let tenant = tenant.to_ascii_lowercase();
        world.azure().directories.entry(tenant.clone()).or_default();
        Self {
            world: world.clone(),
            tenant,
        }
    }

    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The application with this client id, made if new or deleted (then under a new object id).
    pub fn application(&self, client: &str) -> Application {
        let client = client.to_ascii_lowercase();
        let mut azure = self.world.azure();
        let directory = azure.directories.entry(self.tenant.clone()).or_default();
        let known = directory
            .applications
            .get(&client)
            .filter(|known| !known.deleted)
            .map(|known| known.principal.clone());
        let principal = known.unwrap_or_else(|| {
            let fresh = ApplicationState {
                principal: uuid(),
                secrets: Vec::new(),
                federations: Vec::new(),
                disabled: false,
                deleted: false,
            };
            let principal = fresh.principal.clone();
            directory.applications.insert(client.clone(), fresh);
            principal
        });
        Application {
            world: self.world.clone(),
            tenant: self.tenant.clone(),
            client,
            principal,
        }
    }

    /// Brings a deleted application back, as [`Application::restore`] does for who has no handle.
    pub fn restore_application(&self, client: &str) {
        let mut azure = self.world.azure();
        let directory = azure.directories.entry(self.tenant.clone()).or_default();
        if let Some(app) = directory.applications.get_mut(&client.to_ascii_lowercase()) {
            app.deleted = false;
        }
    }

    /// How long tokens issued from now on are valid; about an hour unless told otherwise.
    pub fn token_lifetime(&self, lifetime: Duration) {
        self.world
            .azure()
            .directories
            .entry(self.tenant.clone())
            .or_default()
            .token_lifetime = lifetime;
    }

    /// The directory is gone: Entra knows no such tenant.
    pub fn remove(&self) {
        self.world.azure().directories.remove(&self.tenant);
    }
}

/// One application in one directory.
#[derive(Debug, Clone)]
pub struct Application {
    world: Arc<World>,
    tenant: String,
    client: String,
    principal: String,
}

impl Application {
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Object id of its service principal: what grants are made to.
    pub fn principal(&self) -> String {
        self.principal.clone()
    }

    pub fn add_secret(&self, value: &str) {
        self.secret(value, false);
    }

    /// A secret whose end date has passed.
    pub fn add_expired_secret(&self, value: &str) {
        self.secret(value, true);
    }

    pub fn remove_secret(&self, value: &str) {
        self.change(|app| app.secrets.retain(|secret| secret.value != value));
    }

    /// No new tokens; those issued keep working at the vaults until they expire, as in reality.
    pub fn disable(&self) {
        self.change(|app| app.disabled = true);
    }

    pub fn enable(&self) {
        self.change(|app| app.disabled = false);
    }

    /// Soft-deleted: unknown to Entra until restored.
    pub fn delete(&self) {
        self.change(|app| app.deleted = true);
    }

    /// Back from deletion with the same object id.
    pub fn restore(&self) {
        self.change(|app| app.deleted = false);
    }

    /// Accepts tokens of `issuer` for `subject` with `audience` in place of a secret.
    pub fn federate(&self, issuer: &str, subject: &str, audience: &str) {
        let federation = Federation {
            issuer: issuer.into(),
            subject: subject.into(),
            audience: audience.into(),
        };
        self.change(|app| {
            if !app.federations.contains(&federation) {
                app.federations.push(federation);
            }
        });
    }

    pub fn unfederate(&self, subject: &str) {
        self.change(|app| {
            app.federations
                .retain(|federation| federation.subject != subject);
        });
    }

    fn secret(&self, value: &str, expired: bool) {
        self.world.calls.secret(value);
        self.change(|app| {
            app.secrets.retain(|secret| secret.value != value);
            app.secrets.push(Secret {
                value: value.to_owned(),
                expired,
            });
        });
    }

    /// A handle of an application that was replaced by a new one changes nothing.
    fn change(&self, change: impl FnOnce(&mut ApplicationState)) {
        let mut azure = self.world.azure();
        let app = azure
            .directories
            .get_mut(&self.tenant)
            .and_then(|dir| dir.applications.get_mut(&self.client));
        if let Some(app) = app.filter(|app| app.principal == self.principal) {
            change(app);
        }
    }
}
