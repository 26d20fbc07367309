//! How a keyring changes: each change makes a whole new keyring, which one write puts in the place
//! of the old. Nothing here talks to a key service; what comes in was proved to open.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;

use super::{Kek, Key, KeyId, Keyring, Locked, MOST_LIVE, Version};

/// How long a version may still be encrypting that was active. A replica that hears nothing serves for 5 min
/// more by what it has read; a call that has begun lasts for 10 s.
pub const IN_USE: SignedDuration = SignedDuration::from_mins(6);

/// Why a keyring is not rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the keyring has {MOST_LIVE} live versions")]
    Full,
    #[error("a live version was not wrapped again")]
    Incomplete,
}

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
    /// How long until the next one may be erased that was active a short while ago.
    pub wait: Option<SignedDuration>,
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
    ) -> Result<Self, Unfit> {
        if self.live().count() >= MOST_LIVE {
            return Err(Unfit::Full);
        }
        let mut keyring = match rewrapped {
            Some(rewrapped) => self.rewrap(rewrapped).ok_or(Unfit::Incomplete)?,
            None => Self {
                revision: self.revision + 1,
                ..self.clone()
            },
        };
        keyring.activate(minted, now);
        Ok(keyring)
    }

    /// The same master keys under another key or another version of it; none when a live version
    /// has no new bytes, and would be lost.
    pub fn rewrap(&self, rewrapped: &Rewrapped) -> Option<Self> {
        let mut keyring = self.clone();
        keyring.revision += 1;
        keyring.kek = rewrapped.kek.clone();
        for version in &mut keyring.versions {
            if let Key::Active { wrapped } | Key::Retired { wrapped, .. } = &mut version.key {
                wrapped.clone_from(rewrapped.wrapped.get(&version.id)?);
            }
        }
        Some(keyring)
    }

    /// Destroys versions for ever, as soon as nothing is encrypted with them any more. Ids that are not
    /// here, or erased already, change nothing.
    pub fn erase(&self, ids: &[String], now: Timestamp) -> Erasure {
        let ids: Vec<_> = ids.iter().filter_map(|id| KeyId::parse(id)).collect();
        let asked = |version: &&Version| ids.contains(&version.id);
        let active = self.active().filter(asked).map(|one| one.id.clone());
        let wait = |one: &Version| match one.key {
            Key::Retired { retired, .. } if asked(&one) => {
                Some(IN_USE - now.duration_since(retired))
            }
            _ => None,
        };
        let due = |one: &Version| wait(one).is_some_and(|wait| !wait.is_positive());
        let changed = self
            .versions
            .iter()
            .any(due)
            .then(|| self.without(due, now));
        let waits = self.versions.iter().filter_map(wait);
        Erasure {
            changed,
            active,
            wait: waits.filter(SignedDuration::is_positive).min(),
        }
    }

    /// Destroys everything.
    #[must_use]
    pub fn erase_all(&self, now: Timestamp) -> Self {
        self.without(|one| one.key.wrapped().is_some(), now)
    }

    fn without(&self, erase: impl Fn(&Version) -> bool, now: Timestamp) -> Self {
        let mut keyring = self.clone();
        keyring.revision += 1;
        for version in keyring.versions.iter_mut().filter(|one| erase(one)) {
            version.key = Key::Erased { erased: now };
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
        self.versions.reserve_exact(1); // there are many tenants, most with one version
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
}
