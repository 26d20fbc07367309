//! Commands on the machine's identities and on the cloud as a whole: trust, faults, the ledger.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::commands::nothing;
use super::fault::FaultJson;
use crate::azure::directory::Directory;
use crate::azure::identities::Imds;
use crate::world::{World, lock};

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum ImdsCommand {
    /// Answers `{principal}`.
    SystemAssigned {
        tenant: String,
    },
    /// Answers `{principal}`.
    UserAssigned {
        tenant: String,
        client: String,
        object: String,
        resource: String,
    },
    RemoveIdentities,
    Absent {
        absent: bool,
    },
}

impl ImdsCommand {
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let imds = Imds::open(world);
        match self {
            Self::SystemAssigned { tenant } => {
                json!({ "principal": imds.system_assigned(&Directory::open(world, &tenant)) })
            }
            Self::UserAssigned {
                tenant,
                client,
                object,
                resource,
            } => {
                let directory = Directory::open(world, &tenant);
                let principal = imds.user_assigned(&directory, &client, &object, &resource);
                json!({ "principal": principal })
            }
            Self::RemoveIdentities => {
                imds.remove_identities();
                nothing()
            }
            Self::Absent { absent } => {
                imds.absent(absent);
                nothing()
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum CloudCommand {
    TrustIssuer {
        issuer: String,
        jwks: Value,
    },
    /// A token signed as the cloud signs its own. Answers `{token}`.
    SignToken {
        claims: Value,
    },
    /// Answers `{id}`.
    Fault {
        fault: FaultJson,
    },
    ClearFault {
        id: u64,
    },
    ClearFaults,
}

impl CloudCommand {
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        match self {
            Self::TrustIssuer { issuer, jwks } => {
                lock(&world.trusted).insert(issuer, jwks);
                nothing()
            }
            Self::SignToken { claims } => json!({ "token": world.sign_token(&claims) }),
            Self::Fault { fault } => json!({ "id": world.faults.arm(fault.into()) }),
            Self::ClearFault { id } => {
                world.faults.clear(id);
                nothing()
            }
            Self::ClearFaults => {
                world.faults.clear_all();
                nothing()
            }
        }
    }
}
