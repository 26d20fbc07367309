//! The commands of the control API, one for each method of the library's handles:
//! `{"on": "vault", "name": "acme-kv", "do": "grant", …}`. Each opens the handle it names and calls one method; no
//! logic lives here or in the files beside it.

use std::sync::Arc;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::application::{ApplicationCommand, DirectoryCommand};
use super::aws::{AwsCommand, AwsKeyCommand, RoleCommand};
use super::cloud::{CloudCommand, ImdsCommand};
use super::gcp::{AccountCommand, CryptoKeyCommand, GcpCommand, ProviderCommand};
use super::vault::{KeyCommand, VaultCommand};
use crate::world::World;

/// What a command is about; the fields and the verbs are with each kind.
#[derive(Debug, Deserialize)]
#[serde(tag = "on", rename_all = "kebab-case")]
pub(super) enum Command {
    Directory(DirectoryCommand),
    Application(ApplicationCommand),
    Imds(ImdsCommand),
    Vault(VaultCommand),
    Key(KeyCommand),
    Cloud(CloudCommand),
    Aws(AwsCommand),
    AwsRole(RoleCommand),
    AwsKey(AwsKeyCommand),
    Gcp(GcpCommand),
    ServiceAccount(AccountCommand),
    Provider(ProviderCommand),
    CryptoKey(CryptoKeyCommand),
}

pub(super) fn run(world: &Arc<World>, command: Value) -> anyhow::Result<Value> {
    match serde_json::from_value(command).context("no such command")? {
        Command::Directory(command) => Ok(command.run(world)),
        Command::Application(command) => Ok(command.run(world)),
        Command::Imds(command) => Ok(command.run(world)),
        Command::Vault(command) => command.run(world),
        Command::Key(command) => command.run(world),
        Command::Cloud(command) => Ok(command.run(world)),
        Command::Aws(command) => Ok(command.run(world)),
        Command::AwsRole(command) => Ok(command.run(world)),
        Command::AwsKey(command) => Ok(command.run(world)),
        Command::Gcp(command) => command.run(world),
        Command::ServiceAccount(command) => Ok(command.run(world)),
        Command::Provider(command) => Ok(command.run(world)),
        Command::CryptoKey(command) => Ok(command.run(world)),
    }
}

/// The answer of a command that has nothing to say.
pub(super) fn nothing() -> Value {
    json!({})
}
