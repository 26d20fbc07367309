//! The keyring of one tenant: its master keys, each wrapped by the customer's key and nothing else.
//! Pure data: no key in the clear stands here, and what is erased never comes back.

mod change;
pub mod master;
pub mod problem;
pub mod takeover;
pub mod wrapping;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};

use crate::api::ProviderKind;
use crate::provider::Wrapped;

pub use change::{Erasure, IN_USE, Rewrapped, Unfit};
pub use master::{Commitment, KeyId, MasterKey, MessageKey, SessionKey};

/// How many versions may be unwrapped at most: each costs a call when the customer's key changes.
pub const MOST_LIVE: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyring {
    /// Counts the changes: of two copies of one keyring the higher is the newer one.
    pub revision: u64,
    /// What wraps every live version: the same for all, so that one proof speaks for all of them.
    pub kek: Kek,
    /// Oldest first. Erased ones stay as a trace.
    pub versions: Vec<Version>,
}

/// A version of the customer's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kek {
    pub provider: ProviderKind,
    /// The canonical id, the same for every spelling of one key.
    pub key_id: String,
    pub version: String,
}

/// One master key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub id: KeyId,
    /// 1, 2, 3, … for people.
    pub number: u32,
    pub created: Timestamp,
    /// Written once. Whatever opens and does not fit to this is not the tenant's key.
    pub commitment: Commitment,
    #[serde(flatten)]
    pub key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Key {
    /// New data is encrypted with this one.
    Active { wrapped: ByteString },
    /// Still opens what it encrypted.
    Retired {
        wrapped: ByteString,
        retired: Timestamp,
    },
    /// Gone for ever.
    Erased { erased: Timestamp },
}

/// A master key as it is stored, and how to tell that it is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    pub id: KeyId,
    pub commitment: Commitment,
    pub wrapped: Wrapped,
}

impl Key {
    pub fn state(&self) -> &'static str {
        match self {
            Self::Active { .. } => "active",
            Self::Retired { .. } => "retired",
            Self::Erased { .. } => "erased",
        }
    }

    pub fn wrapped(&self) -> Option<&ByteString> {
        match self {
            Self::Active { wrapped } | Self::Retired { wrapped, .. } => Some(wrapped),
            Self::Erased { .. } => None,
        }
    }
}

impl Keyring {
    /// The version that is used now; none when all are erased.
    pub fn active(&self) -> Option<&Version> {
        let active = |one: &&Version| matches!(one.key, Key::Active { .. });
        self.versions.iter().find(active)
    }

    pub fn version(&self, id: &KeyId) -> Option<&Version> {
        self.versions.iter().find(|one| one.id == *id)
    }

    /// What can be unwrapped.
    pub fn live(&self) -> impl Iterator<Item = &Version> {
        self.versions
            .iter()
            .filter(|one| one.key.wrapped().is_some())
    }

    /// What is needed to open a version; none when it is erased.
    pub fn locked(&self, version: &Version) -> Option<Locked> {
        Some(Locked {
            id: version.id.clone(),
            commitment: version.commitment.clone(),
            wrapped: Wrapped {
                ciphertext: version.key.wrapped()?.0.clone(),
                kek_version: self.kek.version.clone(),
            },
        })
    }

    /// Whether this is a keyring that a holder could have written.
    pub fn is_sound(&self) -> bool {
        let mut ids = HashSet::new();
        let live = self.live().count();
        let active = |one: &Version| matches!(one.key, Key::Active { .. });
        let actives = self.versions.iter().filter(|one| active(one)).count();
        let newest_live = self
            .versions
            .iter()
            .rev()
            .find(|one| one.key.wrapped().is_some());
        self.versions.iter().all(|one| ids.insert(&one.id))
            && self.versions.is_sorted_by(|a, b| a.number < b.number)
            && live <= MOST_LIVE
            && actives == usize::from(live > 0)
            && newest_live.is_none_or(active)
            && !self.versions.is_empty()
            && self.revision > 0
    }
}
