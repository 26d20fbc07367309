//! How a keyring changes: each change makes a whole new keyring, which one write puts in the place
//! of the old. Nothing here talks to a key service; what comes in was proved to open.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::{Kek, Key, KeyId, Keyring, Locked, MOST_LIVE, Version};

/// There are as many live versions as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keyring has {MOST_LIVE} live versions")]
pub struct Full;

/// Every live version, wrapped by another version of the key or by another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    pub kek: Kek,
    pub wrapped: BTreeMap<KeyId, ByteString>,
}

/// What came of ids that are to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The new keyring, if it differs.
    pub changed: Option<Keyring>,
    /// Asked for and in use: left as it is until another version is active.
    pub active: Option<KeyId>,
}

impl Keyring {
    /// The keyring of a tenant that has none, or whose versions are all erased.
    pub fn begin(before: Option<&Self>, kek: Kek, minted: Locked, now: Timestamp) -> Self {
        let mut keyring = Self {
            revision: before.map_or(0, |old| old.revision) + 1,
            kek,
            versions: before.map_or_else(Vec::new, |old| old.versions.clone()),
        };
        keyring.activate(minted, now);
        keyring
    }

    /// Another active version; the one before still opens what it encrypted. `rewrapped` when the
    /// customer's key has a new version as well.
    pub fn rotate(
        &self,
        rewrapped: Option<&Rewrapped>,
        minted: Locked,
        now: Timestamp,
    ) -> Result<Self, Full> {
        if self.live().count() >= MOST_LIVE {
            return Err(Full);
        }
        let mut keyring = self.clone();
        keyring.revision += 1;
        if let Some(rewrapped) = rewrapped {
            keyring.put(rewrapped);
        }
        keyring.activate(minted, now);
        Ok(keyring)
    }

    /// The same master keys under another key or another version of it.
    #[must_use]
    pub fn rewrap(&self, rewrapped: &Rewrapped) -> Self {
        let mut keyring = self.clone();
        keyring.revision += 1;
        keyring.put(rewrapped);
        keyring
    }

    /// Destroys versions for ever. Ids that are not here, or erased already, change nothing.
    pub fn erase(&self, ids: &[String], now: Timestamp) -> Erasure {
        let asked = |version: &Version| ids.iter().any(|id| id == version.id.as_str());
        let mut keyring = self.clone();
        let mut active = None;
        for version in keyring.versions.iter_mut().filter(|one| asked(one)) {
            match version.key {
                Key::Active { .. } => active = Some(version.id.clone()),
                Key::Retired { .. } => version.key = Key::Erased { erased: now },
                Key::Erased { .. } => {}
            }
        }
        let changed = (keyring != *self).then(|| {
            keyring.revision += 1;
            keyring
        });
        Erasure { changed, active }
    }

    /// Destroys everything.
    #[must_use]
    pub fn erase_all(&self, now: Timestamp) -> Self {
        let mut keyring = self.clone();
        for version in &mut keyring.versions {
            if version.key.wrapped().is_some() {
                version.key = Key::Erased { erased: now };
            }
        }
        if keyring != *self {
            keyring.revision += 1;
        }
        keyring
    }

    /// The same keyring with the wrapped bytes that `copy` has of its live versions; none when there
    /// are no others, or when another key wrapped them. No version comes or goes.
    pub fn mended(&self, copy: &Self) -> Option<Self> {
        let mut keyring = self.clone();
        for version in keyring.versions.iter_mut().filter(|_| self.kek == copy.kek) {
            let other = copy.version(&version.id).filter(|other| {
                other.commitment == version.commitment && other.number == version.number
            });
            if let Some(other) = other.and_then(|other| other.key.wrapped())
                && let Key::Active { wrapped } | Key::Retired { wrapped, .. } = &mut version.key
            {
                wrapped.clone_from(other);
            }
        }
        (keyring != *self).then(|| {
            keyring.revision += 1;
            keyring
        })
    }

    /// Whether this is `before` or grew out of it: no version of it is missing, another one or
    /// alive again.
    pub fn follows(&self, before: &Self) -> bool {
        self.revision >= before.revision
            && before.versions.iter().all(|old| {
                let new = self.version(&old.id);
                new.is_some_and(|new| {
                    new.commitment == old.commitment
                        && new.number == old.number
                        && (old.key.wrapped().is_some() || new.key.wrapped().is_none())
                })
            })
    }

    fn activate(&mut self, minted: Locked, now: Timestamp) {
        for version in &mut self.versions {
            if let Key::Active { wrapped } = &mut version.key {
                version.key = Key::Retired {
                    wrapped: std::mem::take(wrapped),
                    retired: now,
                };
            }
        }
        self.versions.push(Version {
            id: minted.id,
            number: self.versions.last().map_or(0, |last| last.number) + 1,
            created: now,
            commitment: minted.commitment,
            key: Key::Active {
                wrapped: ByteString(minted.wrapped.ciphertext),
            },
        });
    }

    /// A live version without new bytes would be lost: then nothing changes.
    fn put(&mut self, rewrapped: &Rewrapped) {
        let complete = self
            .live()
            .all(|version| rewrapped.wrapped.contains_key(&version.id));
        if !complete {
            return;
        }
        self.kek = rewrapped.kek.clone();
        for version in &mut self.versions {
            let Some(new) = rewrapped.wrapped.get(&version.id) else {
                continue;
            };
            match &mut version.key {
                Key::Active { wrapped } | Key::Retired { wrapped, .. } => wrapped.clone_from(new),
                Key::Erased { .. } => {}
            }
        }
    }
}
