//! Commands on directories and the applications in them. They make what they name, as the library does.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::commands::nothing;
use crate::azure::directory::Directory;
use crate::world::World;

#[derive(Debug, Deserialize)]
pub(super) struct DirectoryCommand {
    tenant: String,
    #[serde(flatten)]
    change: DirectoryChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum DirectoryChange {
    Open,
    TokenLifetime { seconds: u64 },
    Remove,
}

impl DirectoryCommand {
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let directory = Directory::open(world, &self.tenant);
        match self.change {
            DirectoryChange::Open => {}
            DirectoryChange::TokenLifetime { seconds } => {
                directory.token_lifetime(Duration::from_secs(seconds));
            }
            DirectoryChange::Remove => directory.remove(),
        }
        nothing()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ApplicationCommand {
    tenant: String,
    client: String,
    #[serde(flatten)]
    change: ApplicationChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum ApplicationChange {
    Open,
    AddSecret {
        value: String,
    },
    AddExpiredSecret {
        value: String,
    },
    RemoveSecret {
        value: String,
    },
    Disable,
    Enable,
    Delete,
    Restore,
    Federate {
        issuer: String,
        subject: String,
        audience: String,
    },
    Unfederate {
        subject: String,
    },
}

impl ApplicationCommand {
    /// Answers `{principal}`.
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let directory = Directory::open(world, &self.tenant);
        if let ApplicationChange::Restore = self.change {
            directory.restore_application(&self.client);
        }
        let application = directory.application(&self.client);
        match self.change {
            ApplicationChange::Open | ApplicationChange::Restore => {}
            ApplicationChange::AddSecret { value } => application.add_secret(&value),
            ApplicationChange::AddExpiredSecret { value } => application.add_expired_secret(&value),
            ApplicationChange::RemoveSecret { value } => application.remove_secret(&value),
            ApplicationChange::Disable => application.disable(),
            ApplicationChange::Enable => application.enable(),
            ApplicationChange::Delete => application.delete(),
            ApplicationChange::Federate {
                issuer,
                subject,
                audience,
            } => application.federate(&issuer, &subject, &audience),
            ApplicationChange::Unfederate { subject } => application.unfederate(&subject),
        }
        json!({ "principal": application.principal() })
    }
}
