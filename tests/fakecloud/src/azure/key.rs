//! Keys and their versions as the customer changes them: enabled, dates, operations, rotation, deletion. Attributes
//! belong to versions, as in Key Vault; a change of the key here is a change of all its versions.

use std::sync::Arc;

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256};

use crate::azure::VAULT_SUFFIX;
use crate::azure::material::Material;
use crate::azure::token::now;
use crate::crypto::{hex, random};
use crate::world::World;

#[derive(Debug)]
pub(crate) struct KeyState {
    /// The name as it was created; names are looked up without regard to case.
    pub(crate) name: String,
    pub(crate) options: KeyOptions,
    pub(crate) deleted: bool,
    /// Oldest first, never empty.
    pub(crate) versions: Vec<VersionState>,
}

#[derive(Debug, Clone)]
pub(crate) struct VersionState {
    pub(crate) id: String,
    pub(crate) material: Arc<Material>,
    pub(crate) enabled: bool,
    pub(crate) expires: Option<i64>,
    pub(crate) not_before: Option<i64>,
    pub(crate) ops: Vec<String>,
    pub(crate) created: u64,
}

/// How to make a key.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// RSA size: 2048, 3072, 4096; below 2048 for a key as no vault makes any more.
    pub kty_bits: usize,
    /// P-256 instead of RSA.
    pub ec: bool,
    /// `key_ops`; empty is the default of the key's type.
    pub ops: Vec<&'static str>,
    /// Unix seconds.
    pub expires: Option<i64>,
    /// Unix seconds.
    pub not_before: Option<i64>,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self {
            kty_bits: 2048,
            ec: false,
            ops: Vec::new(),
            expires: None,
            not_before: None,
        }
    }
}

impl KeyOptions {
    fn version(&self, world: &World) -> VersionState {
        let material = match self.kty_bits {
            _ if self.ec => Material::ec(),
            small @ ..2048 => Material::small(small),
            bits => Material::rsa(world.rsa(bits)),
        };
        let defaults: &[&str] = if self.ec {
            &["sign", "verify"]
        } else {
            &[
                "encrypt",
                "decrypt",
                "sign",
                "verify",
                "wrapKey",
                "unwrapKey",
            ]
        };
        let ops = if self.ops.is_empty() {
            defaults
        } else {
            &self.ops
        };
        VersionState {
            id: hex(&random::<16>()),
            material: Arc::new(material),
            enabled: true,
            expires: self.expires,
            not_before: self.not_before,
            ops: ops.iter().map(|&op| op.to_owned()).collect(),
            created: now(),
        }
    }
}

impl KeyState {
    pub(crate) fn current(&self) -> &VersionState {
        self.versions.last().expect("a key has a version")
    }
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    world: Arc<World>,
    vault: String,
    name: String,
}

impl Key {
    pub(crate) fn named(world: &Arc<World>, vault: &str, name: &str) -> Self {
        Self {
            world: world.clone(),
            vault: vault.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn create(world: &Arc<World>, vault: &str, name: &str, options: KeyOptions) -> Self {
        let key = Self::named(world, vault, name);
        if key.read(|_| ()).is_none() {
            // Made outside the lock: RSA takes long enough to hold up every other request.
            let first = options.version(world);
            let state = KeyState {
                name: name.to_owned(),
                options,
                deleted: false,
                versions: vec![first],
            };
            if let Some(vault) = world.azure().vaults.get_mut(vault) {
                vault.keys.entry(name.to_ascii_lowercase()).or_insert(state);
            }
        }
        key
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Without a version.
    pub fn url(&self) -> String {
        format!("https://{}{VAULT_SUFFIX}/keys/{}", self.vault, self.name)
    }

    /// The current version.
    pub fn version(&self) -> String {
        self.read(|key| key.current().id.clone())
            .expect("the key exists")
    }

    /// Oldest first.
    pub fn versions(&self) -> Vec<String> {
        self.read(|key| {
            key.versions
                .iter()
                .map(|version| version.id.clone())
                .collect()
        })
        .unwrap_or_default()
    }

    /// Wraps with the current version and RSA-OAEP (SHA-1), as an earlier BYOK may have.
    pub fn wrap_with_sha1(&self, plain: &[u8]) -> Vec<u8> {
        let material = self.read(|key| key.current().material.clone());
        let material = material.expect("the key exists");
        material
            .wrap(&OAEP_SHA1_MGF1SHA1, plain)
            .expect("short enough")
    }

    /// The same with RSA-OAEP-256.
    pub fn wrap(&self, plain: &[u8]) -> Vec<u8> {
        let material = self.read(|key| key.current().material.clone());
        let material = material.expect("the key exists");
        material
            .wrap(&OAEP_SHA256_MGF1SHA256, plain)
            .expect("short enough")
    }

    /// What the customer sees in something that any version wrapped with RSA-OAEP-256.
    pub fn unwrap(&self, wrapped: &[u8]) -> Option<Vec<u8>> {
        let all = self.read(|key| key.versions.clone())?;
        let open = |one: &VersionState| one.material.unwrap(&OAEP_SHA256_MGF1SHA256, wrapped);
        all.iter().find_map(|version| open(version).ok())
    }

    /// Rotates: a new, enabled version made like the first, without dates unless the options had some.
    pub fn new_version(&self) -> String {
        let version = self
            .read(|key| key.options.clone())
            .expect("the key exists")
            .version(&self.world);
        let id = version.id.clone();
        self.change(|key| key.versions.push(version));
        id
    }

    pub fn disable(&self) {
        self.all(|version| version.enabled = false);
    }

    pub fn enable(&self) {
        self.all(|version| version.enabled = true);
    }

    pub fn disable_version(&self, id: &str) {
        self.one(id, |version| version.enabled = false);
    }

    pub fn enable_version(&self, id: &str) {
        self.one(id, |version| version.enabled = true);
    }

    /// Unix seconds.
    pub fn set_expires(&self, at: Option<i64>) {
        self.all(|version| version.expires = at);
    }

    /// Unix seconds.
    pub fn set_not_before(&self, at: Option<i64>) {
        self.all(|version| version.not_before = at);
    }

    /// `key_ops`, for instance `["encrypt", "decrypt"]`.
    pub fn set_ops(&self, ops: &[&str]) {
        self.all(|version| version.ops = ops.iter().map(|&op| op.to_owned()).collect());
    }

    /// Soft-deleted: not found until recovered.
    pub fn delete(&self) {
        self.change(|key| key.deleted = true);
    }

    pub fn recover(&self) {
        self.change(|key| key.deleted = false);
    }

    /// Gone for ever, with everything it wrapped.
    pub fn purge(&self) {
        if let Some(vault) = self.world.azure().vaults.get_mut(&self.vault) {
            vault.keys.remove(&self.name.to_ascii_lowercase());
        }
    }

    /// What a version's own private key makes of a ciphertext, whoever may use the key at present:
    /// what a test that checks wrapped bytes needs. `None` when that version did not wrap it.
    pub fn open(&self, version: &str, ciphertext: &[u8]) -> Option<Vec<u8>> {
        let material = self.read(|key| {
            let mut versions = key.versions.iter();
            let one = versions.find(|one| one.id == version)?;
            Some(one.material.clone())
        });
        material??.unwrap(&OAEP_SHA256_MGF1SHA256, ciphertext).ok()
    }

    fn read<T>(&self, read: impl FnOnce(&KeyState) -> T) -> Option<T> {
        self.world
            .azure()
            .vaults
            .get(&self.vault)?
            .keys
            .get(&self.name.to_ascii_lowercase())
            .map(read)
    }

    fn change(&self, change: impl FnOnce(&mut KeyState)) {
        let mut azure = self.world.azure();
        let vault = azure.vaults.get_mut(&self.vault);
        if let Some(key) =
            vault.and_then(|vault| vault.keys.get_mut(&self.name.to_ascii_lowercase()))
        {
            change(key);
        }
    }

    fn all(&self, change: impl Fn(&mut VersionState)) {
        self.change(|key| key.versions.iter_mut().for_each(change));
    }

    fn one(&self, id: &str, change: impl Fn(&mut VersionState)) {
        self.change(|key| {
            key.versions
                .iter_mut()
                .filter(|version| version.id == id)
                .for_each(change);
        });
    }
}
