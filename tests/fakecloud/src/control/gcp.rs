//! Commands on the Google cloud. They make what they name, as the library does.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::commands::nothing;
use crate::gcp::{Gcp, VersionState};
use crate::world::World;

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum GcpCommand {
    /// Answers `{number}`.
    Project {
        id: String,
    },
    DisableService {
        project: String,
        service: String,
    },
    EnableService {
        project: String,
        service: String,
    },
    /// On a project, key ring, key or service account.
    Grant {
        resource: String,
        member: String,
        role: String,
    },
    Revoke {
        resource: String,
        member: String,
    },
    /// Without `email`, a machine without a service account.
    Machine {
        email: Option<String>,
    },
    MetadataAbsent {
        absent: bool,
    },
}

impl GcpCommand {
    pub(super) fn run(self, world: &Arc<World>) -> anyhow::Result<Value> {
        let gcp = Gcp::open(world);
        match self {
            Self::Project { id } => return Ok(json!({ "number": gcp.project(&id) })),
            Self::DisableService { project, service } => gcp.disable_service(&project, &service),
            Self::EnableService { project, service } => gcp.enable_service(&project, &service),
            Self::Grant {
                resource,
                member,
                role,
            } => gcp.grant(&resource, &member, &role)?,
            Self::Revoke { resource, member } => gcp.revoke(&resource, &member),
            Self::Machine { email } => {
                let account = email.map(|email| gcp.service_account(&email));
                gcp.machine_account(account.as_ref());
            }
            Self::MetadataAbsent { absent } => gcp.metadata_absent(absent),
        }
        Ok(nothing())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct AccountCommand {
    email: String,
    #[serde(flatten)]
    change: AccountChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum AccountChange {
    Open,
    Disable,
    Enable,
    Delete,
}

impl AccountCommand {
    /// Answers `{member, resource}`.
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let account = Gcp::open(world).service_account(&self.email);
        match self.change {
            AccountChange::Open => {}
            AccountChange::Disable => account.disable(),
            AccountChange::Enable => account.enable(),
            AccountChange::Delete => account.delete(),
        }
        json!({ "member": account.member(), "resource": account.resource() })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ProviderCommand {
    name: String,
    #[serde(flatten)]
    change: ProviderChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum ProviderChange {
    Create { issuer: String },
    SetIssuer { issuer: String },
    AllowAudiences { audiences: Vec<String> },
    OnlySubject { subject: Option<String> },
    Disable,
    Enable,
    Delete,
}

impl ProviderCommand {
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let issuer = match &self.change {
            ProviderChange::Create { issuer } => issuer,
            _ => "",
        };
        let provider = Gcp::open(world).provider(&self.name, issuer);
        match self.change {
            ProviderChange::Create { .. } => {}
            ProviderChange::SetIssuer { issuer } => provider.set_issuer(&issuer),
            ProviderChange::AllowAudiences { audiences } => {
                let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
                provider.allow_audiences(&audiences);
            }
            ProviderChange::OnlySubject { subject } => provider.only_subject(subject.as_deref()),
            ProviderChange::Disable => provider.disable(),
            ProviderChange::Enable => provider.enable(),
            ProviderChange::Delete => provider.delete(),
        }
        nothing()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct CryptoKeyCommand {
    name: String,
    #[serde(flatten)]
    change: CryptoKeyChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum CryptoKeyChange {
    Create {
        purpose: Option<String>,
    },
    Rotate,
    /// Of one version, or of all.
    State {
        version: Option<u32>,
        state: VersionState,
    },
    Primary {
        version: Option<u32>,
    },
    Delete,
}

impl CryptoKeyCommand {
    /// Answers `{primary}`.
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let gcp = Gcp::open(world);
        let key = gcp.key(&self.name);
        match self.change {
            CryptoKeyChange::Create { purpose } => {
                gcp.create_key_for(&self.name, purpose.as_deref().unwrap_or("ENCRYPT_DECRYPT"));
            }
            CryptoKeyChange::Rotate => {
                key.rotate();
            }
            CryptoKeyChange::State {
                version: Some(version),
                state,
            } => key.set_state(version, state),
            CryptoKeyChange::State {
                version: None,
                state,
            } => key.set_states(state),
            CryptoKeyChange::Primary { version } => key.set_primary(version),
            CryptoKeyChange::Delete => key.delete(),
        }
        json!({ "primary": key.primary() })
    }
}
