//! Keys and their versions as their owner changes them. What a state means for a request is decided in `kms`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::crypto::random;
use crate::gcp::names::KeyName;
use crate::gcp::{Gcp, crypt};
use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) struct KeyState {
    pub(crate) purpose: String,
    /// Stands in ciphertexts: a key made anew under an old name is another key.
    pub(crate) uid: [u8; 16],
    pub(crate) versions: BTreeMap<u32, Version>,
    pub(crate) primary: Option<u32>,
    pub(crate) created: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) state: VersionState,
    pub(crate) material: [u8; 32],
    pub(crate) created: u64,
}

/// States of a version; cloud.google.com/kms/docs/key-states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VersionState {
    Enabled,
    Disabled,
    DestroyScheduled,
    Destroyed,
    PendingImport,
    PendingGeneration,
}

impl VersionState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::DestroyScheduled => "DESTROY_SCHEDULED",
            Self::Destroyed => "DESTROYED",
            Self::PendingImport => "PENDING_IMPORT",
            Self::PendingGeneration => "PENDING_GENERATION",
        }
    }

    /// The number in the protocol buffer's enum.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Enabled => 1,
            Self::Disabled => 2,
            Self::Destroyed => 3,
            Self::DestroyScheduled => 4,
            Self::PendingGeneration => 5,
            Self::PendingImport => 6,
        }
    }
}

/// One key.
#[derive(Debug, Clone)]
pub struct CryptoKey {
    world: Arc<World>,
    name: String,
}

impl CryptoKey {
    pub(crate) fn create(world: &Arc<World>, name: &str, purpose: &str) -> Self {
        let parsed = KeyName::parse(name).filter(|parsed| parsed.version.is_none());
        let parsed = parsed.expect("projects/P/locations/L/keyRings/R/cryptoKeys/K");
        Gcp::open(world).project(&parsed.project);
        let now = super::token::now();
        world
            .gcp()
            .keys
            .entry(name.to_owned())
            .or_insert_with(|| KeyState {
                purpose: purpose.to_owned(),
                uid: random(),
                versions: BTreeMap::from([(1, Version::new(VersionState::Enabled))]),
                primary: (purpose == "ENCRYPT_DECRYPT").then_some(1),
                created: now,
            });
        Self::named(world, name)
    }

    pub(crate) fn named(world: &Arc<World>, name: &str) -> Self {
        Self {
            world: world.clone(),
            name: name.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the primary version.
    pub fn primary(&self) -> Option<String> {
        let primary = self.world.gcp().keys.get(&self.name)?.primary?;
        Some(format!("{}/cryptoKeyVersions/{primary}", self.name))
    }

    /// Rotates: a new version, which becomes the primary one; returns its number.
    pub fn rotate(&self) -> u32 {
        let mut made = 0;
        self.change(|key| {
            made = key.add(VersionState::Enabled);
            key.primary = Some(made);
        });
        made
    }

    pub fn set_primary(&self, version: Option<u32>) {
        self.change(|key| key.primary = version);
    }

    /// Of one version.
    pub fn set_state(&self, version: u32, state: VersionState) {
        self.change(|key| {
            if let Some(version) = key.versions.get_mut(&version) {
                version.state = state;
            }
        });
    }

    /// Of every version.
    pub fn set_states(&self, state: VersionState) {
        self.change(|key| {
            key.versions
                .values_mut()
                .for_each(|version| version.state = state);
        });
    }

    /// The key is gone, with everything it wrapped.
    pub fn delete(&self) {
        self.world.gcp().keys.remove(&self.name);
    }

    /// What the customer sees in a ciphertext, whatever its version's state.
    pub fn open(&self, ciphertext: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let key = self.world.gcp().keys.get(&self.name).cloned()?;
        let number = crypt::version_of(&key, ciphertext)?;
        crypt::open(&key, key.versions.get(&number)?, ciphertext, aad)
    }

    fn change(&self, change: impl FnOnce(&mut KeyState)) {
        if let Some(key) = self.world.gcp().keys.get_mut(&self.name) {
            change(key);
        }
    }
}

impl KeyState {
    fn add(&mut self, state: VersionState) -> u32 {
        let number = self.versions.keys().last().map_or(1, |last| last + 1);
        self.versions.insert(number, Version::new(state));
        number
    }
}

impl Version {
    fn new(state: VersionState) -> Self {
        Self {
            state,
            material: random(),
            created: super::token::now(),
        }
    }
}
