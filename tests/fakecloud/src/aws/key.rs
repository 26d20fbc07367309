//! Keys of KMS as their owner changes them, and what they do with bytes: AES-256-GCM with the encryption context as
//! its additional data, under a backing key that the blob names, so that a rotated key opens what it wrapped before.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::aws::access::{KeyStatement, root};
use crate::aws::region::{host, partition_of};
use crate::crypto::{random, uuid};
use crate::world::World;

/// `KeyState`, as `DescribeKey` writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Enabled,
    Disabled,
    PendingDeletion,
    /// Its imported material was deleted or has expired, or was never there.
    PendingImport,
    /// Its custom key store is disconnected.
    Unavailable,
}

/// How a key is made.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// `SYMMETRIC_DEFAULT`, `RSA_2048`, `HMAC_256`, …
    pub spec: &'static str,
    /// `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, …
    pub usage: &'static str,
    /// A multi-Region key: its id begins with `mrk-`.
    pub multi_region: bool,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self {
            spec: "SYMMETRIC_DEFAULT",
            usage: "ENCRYPT_DECRYPT",
            multi_region: false,
        }
    }
}

pub(crate) struct KeyState {
    pub(crate) arn: String,
    pub(crate) options: KeyOptions,
    pub(crate) status: Status,
    pub(crate) policy: Vec<KeyStatement>,
    /// Oldest first; the last one wraps.
    backing: Vec<Backing>,
}

struct Backing {
    id: [u8; 16],
    key: LessSafeKey,
}

impl fmt::Debug for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyState")
            .field("arn", &self.arn)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Backing {
    fn new() -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &random::<32>()).expect("32 bytes are a key");
        Self {
            id: random(),
            key: LessSafeKey::new(key),
        }
    }
}

/// What a blob begins with.
const MAGIC: &[u8; 4] = b"fkms";
const HEAD: usize = 4 + 16 + 12;

/// The encryption context in one order and without ambiguity.
fn additional(context: &HashMap<String, String>) -> Vec<u8> {
    let sorted: BTreeMap<_, _> = context.iter().collect();
    serde_json::to_vec(&sorted).expect("texts are JSON")
}

impl KeyState {
    pub(crate) fn wrap(&self, plain: &[u8], context: &HashMap<String, String>) -> Vec<u8> {
        let backing = self.backing.last().expect("a key has material");
        let nonce = random::<12>();
        let mut sealed = plain.to_vec();
        backing
            .key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(additional(context)),
                &mut sealed,
            )
            .expect("4 KiB can be sealed");
        [MAGIC, &backing.id[..], &nonce, &sealed].concat()
    }

    /// `None` when it is not this key's, was changed, or was wrapped in another context.
    pub(crate) fn unwrap(&self, blob: &[u8], context: &HashMap<String, String>) -> Option<Vec<u8>> {
        let (head, sealed) = blob.split_at_checked(HEAD)?;
        let backing = self.backing_of(blob)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[20..]).ok()?;
        let mut bytes = sealed.to_vec();
        let aad = Aad::from(additional(context));
        let plain = backing.key.open_in_place(nonce, aad, &mut bytes).ok()?;
        Some(plain.to_vec())
    }

    /// Whether one of its backing keys is the one that the blob names.
    pub(crate) fn wrapped(&self, blob: &[u8]) -> bool {
        self.backing_of(blob).is_some()
    }

    fn backing_of(&self, blob: &[u8]) -> Option<&Backing> {
        let id = blob.strip_prefix(MAGIC)?.get(..16)?;
        self.backing.iter().find(|known| known.id == id)
    }
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    world: Arc<World>,
    arn: String,
}

/// What a customer lets the platform do with a key.
pub const USE: [&str; 3] = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"];

impl Key {
    pub(crate) fn named(world: &Arc<World>, arn: &str) -> Self {
        Self {
            world: world.clone(),
            arn: arn.to_owned(),
        }
    }

    pub(crate) fn create(
        world: &Arc<World>,
        account: &str,
        region: &str,
        options: KeyOptions,
    ) -> Self {
        let id = if options.multi_region {
            format!("mrk-{}", uuid().replace('-', ""))
        } else {
            uuid()
        };
        let partition = partition_of(region);
        let arn = format!("arn:{partition}:kms:{region}:{account}:key/{id}");
        Self::create_as(world, &arn, options)
    }

    pub(crate) fn create_as(world: &Arc<World>, arn: &str, options: KeyOptions) -> Self {
        let key = Self::named(world, arn);
        if world.aws().keys.contains_key(arn) {
            return key;
        }
        let state = KeyState {
            arn: arn.to_owned(),
            options,
            status: Status::Enabled,
            policy: Vec::new(),
            backing: vec![Backing::new()],
        };
        world.aws().keys.insert(arn.to_owned(), state);
        key.grant(&root(arn));
        key
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Where it answers.
    pub fn host(&self) -> String {
        host("kms", self.arn.split(':').nth(3).unwrap_or_default())
    }

    /// An alias's ARN of this key's account and region.
    pub fn alias_arn(&self, name: &str) -> String {
        let before = self.arn.split("key/").next().unwrap_or_default();
        format!("{before}alias/{name}")
    }

    /// Lets a user, a role or an account (`arn:…:root`) use it, by the key's policy.
    pub fn grant(&self, principal: &str) {
        self.grant_only(principal, &USE, None);
    }

    /// The same with just these actions, and only in requests with this encryption context.
    pub fn grant_only(&self, principal: &str, actions: &[&str], context: Option<(&str, &str)>) {
        let statement = KeyStatement {
            principal: principal.to_owned(),
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
            context: context.map(|(name, value)| (name.to_owned(), value.to_owned())),
        };
        self.change(|key| key.policy.push(statement));
    }

    /// Takes every statement of a principal out of the key's policy.
    pub fn revoke(&self, principal: &str) {
        self.change(|key| key.policy.retain(|known| known.principal != principal));
    }

    /// The account's own policies no longer decide: only those named in the key's policy may use it.
    pub fn revoke_account(&self) {
        self.revoke(&root(&self.arn));
    }

    pub fn set_status(&self, status: Status) {
        self.change(|key| key.status = status);
    }

    /// New backing material; what was wrapped before still opens.
    pub fn rotate(&self) {
        self.change(|key| key.backing.push(Backing::new()));
    }

    /// The end of the waiting period: gone for ever, with everything it wrapped.
    pub fn delete(&self) {
        self.world.aws().keys.remove(&self.arn);
    }

    fn change(&self, change: impl FnOnce(&mut KeyState)) {
        if let Some(key) = self.world.aws().keys.get_mut(&self.arn) {
            change(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> KeyState {
        KeyState {
            arn: String::new(),
            options: KeyOptions::default(),
            status: Status::Enabled,
            policy: Vec::new(),
            backing: vec![Backing::new()],
        }
    }

    #[test]
    fn a_blob_opens_with_its_key_in_its_context_only() {
        let (mut one, other) = (state(), state());
        let context = |value: &str| HashMap::from([("tenant".to_owned(), value.to_owned())]);
        let blob = one.wrap(b"master key", &context("a"));
        one.backing.push(Backing::new());
        assert_eq!(one.unwrap(&blob, &context("a")).unwrap(), b"master key");
        assert!(one.wrapped(&blob) && !other.wrapped(&blob));
        assert_eq!(one.unwrap(&blob, &context("b")), None);
        assert_eq!(other.unwrap(&blob, &context("a")), None);
        for index in 0..blob.len() {
            let mut changed = blob.clone();
            changed[index] ^= 1;
            assert_eq!(one.unwrap(&changed, &context("a")), None, "byte {index}");
        }
        assert_eq!(one.unwrap(&blob[..blob.len() - 1], &context("a")), None);
    }
}
