//! What must be true of a tenant's master keys, kept apart from the product: every version that was
//! ever on record, what it is, and what became of it. Judges each write that is applied.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use zeroize::Zeroizing;

use super::cloud::Cloud;
use crate::record::Record;
use crate::record::keyring::{Commitment, Key, Keyring, MasterKey, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Live,
    Erased,
    /// Gone with a record that somebody replaced while nobody remembered it.
    Lost,
}

#[derive(Debug)]
struct Known {
    commitment: Commitment,
    bytes: Vec<u8>,
    fate: Fate,
}

#[derive(Debug, Default)]
pub struct Ledger {
    versions: BTreeMap<String, Known>,
    /// The tenant that each namespace has.
    uids: HashMap<String, String>,
    /// What the object asked to erase.
    pub erasable: BTreeSet<String>,
    /// The keyrings that were on record for each object, which may move them, also when an older copy
    /// of the record is put in the place of the one that says so.
    owned: BTreeSet<(Option<String>, String, u64)>,
    /// What was seen to happen.
    pub seen: BTreeSet<&'static str>,
}

pub fn live_ids(keyring: Option<&Keyring>) -> BTreeSet<String> {
    let live = keyring.into_iter().flat_map(Keyring::live);
    live.map(|version| version.id.to_string()).collect()
}

pub fn all_ids(keyring: &Keyring) -> BTreeSet<String> {
    let ids = keyring.versions.iter();
    ids.map(|version| version.id.to_string()).collect()
}

impl Ledger {
    pub fn bytes(&self, id: &str) -> Option<&[u8]> {
        self.versions.get(id).map(|known| known.bytes.as_slice())
    }

    /// How many versions were ever on record.
    pub fn ever(&self) -> usize {
        self.versions.len()
    }

    /// The versions that have to open.
    pub fn live(&self) -> BTreeSet<String> {
        let live = self.versions.iter();
        live.filter(|(_, known)| known.fate == Fate::Live)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whoever remembered the rest is gone.
    pub fn only(&mut self, remembered: &BTreeSet<String>) {
        for (id, known) in &mut self.versions {
            if known.fate == Fate::Live && !remembered.contains(id) {
                known.fate = Fate::Lost;
                self.seen.insert("lost");
            }
        }
        if self.live().is_empty() {
            self.uids.clear();
        }
    }

    /// A person put this keyring in the place of what was there.
    pub fn restored(&mut self, keyring: Option<&Keyring>) {
        self.uids.clear(); // it may be a former tenant's
        self.revived(live_ids(keyring));
    }

    /// A process remembers these, and may not have heard that one was erased on a record that is
    /// gone.
    pub fn revived(&mut self, remembered: BTreeSet<String>) {
        for id in remembered {
            if let Some(known) = self.versions.get_mut(&id) {
                known.fate = Fate::Live;
            }
        }
    }

    /// A process put `after` on record, in the place of `before`.
    pub fn wrote(&mut self, before: Option<&Record>, after: &Record, cloud: &Cloud) {
        let before = before.filter(|before| before.tenant_uid == after.tenant_uid);
        let old = before.and_then(|before| before.keyring.as_ref());
        if let Some(before) = before {
            assert!(before.seal_epoch <= after.seal_epoch, "the epoch went down");
        }
        let Some(keyring) = &after.keyring else {
            return;
        };
        assert!(keyring.is_sound(), "not sound: {keyring:?}");
        let active = |version: &&Version| matches!(version.key, Key::Active { .. });
        let actives = keyring.versions.iter().filter(active).count();
        assert_eq!(actives, usize::from(keyring.live().count() > 0), "active");
        assert!(
            old.map_or(0, |old| old.revision) <= keyring.revision,
            "revision"
        );
        let namespace = after.namespace_uid.clone();
        let uid = self
            .uids
            .entry(namespace)
            .or_insert_with(|| after.tenant_uid.clone());
        assert_eq!(*uid, after.tenant_uid, "two keyrings of one tenant");
        let (live, was) = (live_ids(Some(keyring)), live_ids(old));
        let back = |id: &String| self.versions.contains_key(id) && !was.contains(id);
        if live.iter().any(back) {
            self.seen.insert("written back");
        }
        for version in &keyring.versions {
            self.version(after, keyring, version, cloud);
        }
        let erased = old.and_then(Keyring::active).is_some() && keyring.active().is_none();
        assert!(
            !erased,
            "the active version was erased, and none is in its place"
        );
        let object = |record: &Record| record.applied.as_ref().map(|one| one.object_uid.clone());
        let former = before.and_then(object);
        let moved =
            old.is_some_and(|old| old.active().is_some() && old.kek.key_id != keyring.kek.key_id);
        let recreated = former.is_some() && former != object(after);
        let place = |one: &Keyring| (object(after), one.kek.key_id.clone(), one.revision);
        let owned = [old, Some(keyring)].into_iter().flatten();
        let owned = owned.map(place).any(|one| self.owned.contains(&one));
        assert!(
            !(moved && recreated) || owned,
            "a re-created object moved the keys"
        );
        self.owned.insert(place(keyring));
        self.notice(old, keyring);
    }

    fn version(&mut self, record: &Record, keyring: &Keyring, version: &Version, cloud: &Cloud) {
        let id = version.id.to_string();
        let known = self.versions.get_mut(&id);
        let Some(wrapped) = version.key.wrapped() else {
            assert!(
                self.erasable.contains(&id),
                "version {id} was erased unasked"
            );
            if let Some(known) = known {
                known.fate = Fate::Erased;
            }
            self.seen.insert("erased");
            return;
        };
        let blob = cloud.blob(&wrapped.0).expect("nothing was wrapped to this");
        assert_eq!(blob.key, keyring.kek.key_id, "wrapped by another key");
        assert_eq!(blob.version, keyring.kek.version, "by another version");
        assert_eq!(blob.uid, record.tenant_uid, "for another tenant");
        let key = MasterKey::from_bytes(Zeroizing::new(blob.bytes.clone()));
        let key = key.expect("32 bytes are wrapped");
        let fits = key.fits(&record.tenant_uid, &version.id, &version.commitment);
        assert!(fits, "what was recorded opens to another key");
        match known {
            Some(known) => {
                assert_eq!(known.commitment, version.commitment, "a commitment changed");
                assert_eq!(known.bytes, blob.bytes, "a master key changed");
                assert_ne!(known.fate, Fate::Erased, "version {id} came back");
                known.fate = Fate::Live;
            }
            None => {
                self.versions.insert(
                    id,
                    Known {
                        commitment: version.commitment.clone(),
                        bytes: blob.bytes,
                        fate: Fate::Live,
                    },
                );
            }
        }
    }

    fn notice(&mut self, old: Option<&Keyring>, new: &Keyring) {
        if new.versions.len() >= 3 {
            self.seen.insert("rotated twice");
        }
        let Some(old) = old else { return };
        if old.kek.key_id != new.kek.key_id {
            self.seen.insert("migrated");
        } else if old.kek.version != new.kek.version {
            self.seen.insert("rewrapped");
        }
    }
}
