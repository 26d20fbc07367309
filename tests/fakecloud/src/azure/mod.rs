//! The Azure cloud: Entra (login.microsoftonline.com), the instance metadata service and Key Vault. Decides which
//! service a request belongs to; each service decides alone what it answers.

pub mod directory;
mod entra;
mod entra_errors;
mod federation;
pub mod identities;
pub mod imds;
pub mod key;
mod keyvault;
mod keyvault_access;
mod keyvault_errors;
mod keyvault_keys;
mod material;
mod token;
pub mod vault;

pub(crate) use token::now;

use std::collections::HashMap;

use crate::http::Asked;
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

/// The public cloud's authority.
pub const ENTRA_HOST: &str = "login.microsoftonline.com";
/// What follows a vault's name in its host.
pub const VAULT_SUFFIX: &str = ".vault.azure.net";
/// The resource that vault tokens are for.
pub(crate) const VAULT_RESOURCE: &str = "https://vault.azure.net";

/// What exists in this Azure.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) directories: HashMap<String, directory::DirectoryState>,
    pub(crate) vaults: HashMap<String, vault::VaultState>,
    pub(crate) imds: identities::ImdsState,
}

/// Whether this cloud answers under that name at all.
pub(crate) fn knows(world: &World, host: &str) -> bool {
    if host == ENTRA_HOST {
        return true;
    }
    let Some(name) = host.strip_suffix(VAULT_SUFFIX) else {
        return false;
    };
    world
        .azure()
        .vaults
        .get(name)
        .is_some_and(|vault| !vault.deleted)
}

/// Who asks for what, and the service that will answer.
pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    if asked.host == ENTRA_HOST {
        entra::prepare(world, asked)
    } else if asked.host == imds::IMDS_HOST {
        imds::prepare(world, asked)
    } else {
        keyvault::prepare(world, asked)
    }
}
