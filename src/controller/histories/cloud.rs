//! Key services of a model: they wrap by keeping what they are given and handing out a label. They
//! can refuse, hang, fail, turn to another version, and lie; they remember what they said yes to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::clock::Hands;
use crate::api::{Reason, SecretRef, TenantKmsSpec};
use crate::clock::{Clock, Moment};
use crate::lock::lock;
use crate::provider::{Anchor, Connect, Failure, Kms, TenantId, Wrapped};

/// The keys that exist. The last belongs to another namespace.
pub const KEYS: [&str; 3] = ["vault-a/key", "vault-b/key", "vault-x/key"];
pub const FOREIGN: &str = KEYS[2];
pub const MISSING: &str = "vault-a/nothing";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Works,
    /// The customer took its key away.
    Denies,
    /// Only the right to wrap.
    DeniesWrap,
    Fails,
    Misconfigured,
    Hangs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// 32 bytes that nobody wrapped.
    OtherBytes,
    /// What another blob holds.
    OtherBlob,
    Truncated,
    /// Wraps something else than it was given.
    Wraps,
    /// Says that another version wrapped.
    Version,
}

/// What happens after so many more calls.
#[derive(Clone, Copy, Debug)]
pub enum Surprise {
    Turns(usize),
    Mood(usize, Mood),
    Lie(Lie),
}

#[derive(Clone, Debug)]
struct Key {
    version: u32,
    mood: Mood,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub key: String,
    pub version: String,
    pub uid: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct State {
    keys: BTreeMap<&'static str, Key>,
    blobs: HashMap<Vec<u8>, Blob>,
    order: Vec<Vec<u8>>,
    /// Whether what is wrapped is bound to the tenant's uid.
    binds: bool,
    lie: Option<Lie>,
    surprise: Option<(u32, Surprise)>,
    calls: u64,
    foreign: u64,
    /// When bytes were last unwrapped for somebody.
    yes: HashMap<Vec<u8>, Moment>,
}

#[derive(Debug)]
pub struct Cloud {
    state: Mutex<State>,
    changed: Notify,
    clock: Arc<Hands>,
}

impl Cloud {
    pub fn new(clock: Arc<Hands>, binds: bool) -> Arc<Self> {
        let key = Key {
            version: 1,
            mood: Mood::Works,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                keys: KEYS.into_iter().map(|name| (name, key.clone())).collect(),
                blobs: HashMap::new(),
                order: Vec::new(),
                binds,
                lie: None,
                surprise: None,
                calls: 0,
                foreign: 0,
                yes: HashMap::new(),
            }),
            changed: Notify::new(),
            clock,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn set_mood(&self, key: usize, mood: Mood) {
        self.lock().apply(Surprise::Mood(key, mood));
        self.changed.notify_waiters();
    }

    pub fn set_lie(&self, lie: Option<Lie>) {
        self.lock().lie = lie;
    }

    pub fn surprise(&self, calls: u32, surprise: Surprise) {
        self.lock().surprise = Some((calls, surprise));
    }

    pub fn turn(&self, key: usize) {
        self.lock().apply(Surprise::Turns(key));
    }

    /// Everything works and is honest again.
    pub fn heal(&self) {
        let mut state = self.lock();
        for key in state.keys.values_mut() {
            key.mood = Mood::Works;
        }
        state.lie = None;
        state.surprise = None;
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn version(&self, key: &str) -> Option<String> {
        Some(self.lock().keys.get(key)?.version.to_string())
    }

    pub fn blob(&self, ciphertext: &[u8]) -> Option<Blob> {
        self.lock().blobs.get(ciphertext).cloned()
    }

    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Calls on the key of the other namespace.
    pub fn foreign_calls(&self) -> u64 {
        self.lock().foreign
    }

    pub fn yes(&self, bytes: &[u8]) -> Option<Moment> {
        self.lock().yes.get(bytes).copied()
    }

    /// What the key is like. A call that hangs does so until the key works again: others may have been
    /// refused meanwhile.
    async fn reach(&self, key: &'static str) -> Mood {
        let mut hung = false;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mood = self.lock().keys[key].mood;
            hung |= mood == Mood::Hangs;
            if !hung || mood == Mood::Works {
                return mood;
            }
            changed.await;
        }
    }
}

impl State {
    fn apply(&mut self, surprise: Surprise) {
        match surprise {
            Surprise::Turns(key) => {
                self.keys
                    .entry(KEYS[key])
                    .and_modify(|key| key.version += 1);
            }
            Surprise::Mood(key, mood) => {
                self.keys.entry(KEYS[key]).and_modify(|key| key.mood = mood);
            }
            Surprise::Lie(lie) => self.lie = Some(lie),
        }
    }

    fn count(&mut self, key: &str) {
        self.calls += 1;
        self.foreign += u64::from(key == FOREIGN);
        if let Some((left, surprise)) = self.surprise.take() {
            match left {
                0 => self.apply(surprise),
                _ => self.surprise = Some((left - 1, surprise)),
            }
        }
    }

    fn keep(&mut self, blob: Blob) -> Vec<u8> {
        let ciphertext = format!("blob-{}", self.order.len()).into_bytes();
        self.blobs.insert(ciphertext.clone(), blob);
        self.order.push(ciphertext.clone());
        ciphertext
    }
}

/// One key of the cloud, as the product reaches it.
#[derive(Debug)]
struct Reached {
    cloud: Arc<Cloud>,
    key: &'static str,
}

fn refusal(mood: Mood, wraps: bool) -> Result<(), Failure> {
    match mood {
        Mood::Denies => Err(Failure::denial(Reason::AccessDenied, "no")),
        Mood::DeniesWrap if wraps => Err(Failure::denial(Reason::AccessDenied, "no wrapping")),
        Mood::Fails => Err(Failure::transient(Reason::Unreachable, "an outage")),
        Mood::Misconfigured => {
            let failure = Failure::misconfigured(Reason::CredentialRejected, "own secret");
            Err(failure)
        }
        Mood::Works | Mood::DeniesWrap | Mood::Hangs => Ok(()),
    }
}

#[async_trait]
impl Kms for Reached {
    async fn wrap(&self, uid: &str, plaintext: &Zeroizing<Vec<u8>>) -> Result<Wrapped, Failure> {
        self.cloud.lock().count(self.key);
        refusal(self.cloud.reach(self.key).await, true)?;
        let mut state = self.cloud.lock();
        let version = state.keys[self.key].version.to_string();
        let mut bytes = plaintext.to_vec();
        if state.lie == Some(Lie::Wraps) {
            bytes[0] ^= 1;
        }
        let ciphertext = state.keep(Blob {
            key: self.key.to_owned(),
            version: version.clone(),
            uid: uid.to_owned(),
            bytes,
        });
        let kek_version = match state.lie {
            Some(Lie::Version) => "other".to_owned(),
            _ => version,
        };
        Ok(Wrapped {
            ciphertext,
            kek_version,
        })
    }

    async fn unwrap(&self, uid: &str, wrapped: &Wrapped) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.cloud.lock().count(self.key);
        refusal(self.cloud.reach(self.key).await, false)?;
        let now = self.cloud.clock.now();
        let mut state = self.cloud.lock();
        let blob = state.blobs.get(&wrapped.ciphertext);
        let blob = blob.filter(|one| one.key == self.key && one.version == wrapped.kek_version);
        let blob = blob.filter(|one| one.uid == uid || !state.binds);
        let Some(bytes) = blob.map(|blob| blob.bytes.clone()) else {
            return Err(Failure::transient(Reason::ProviderError, "bad bytes").with_bytes_refused());
        };
        let other = state.order.iter().rev();
        let mut other = other.filter(|one| **one != wrapped.ciphertext);
        let answer = match state.lie {
            Some(Lie::OtherBytes) => vec![7; 32],
            Some(Lie::OtherBlob) => match other.next() {
                Some(other) => state.blobs[other].bytes.clone(),
                None => vec![7; 32],
            },
            Some(Lie::Truncated) => bytes[..31].to_vec(),
            Some(Lie::Wraps | Lie::Version) | None => bytes.clone(),
        };
        if answer == bytes {
            state.yes.insert(bytes, now);
        }
        Ok(Zeroizing::new(answer))
    }

    fn key_id(&self) -> &str {
        self.key
    }

    fn identity(&self) -> &'static str {
        "model"
    }
}

#[derive(Debug)]
pub struct Connector(pub Arc<Cloud>);

#[async_trait]
impl Connect for Connector {
    async fn connect(
        &self,
        _: &TenantId,
        spec: &TenantKmsSpec,
        _: &Anchor,
        _: bool,
    ) -> Result<Arc<dyn Kms>, Failure> {
        let key = KEYS.into_iter().find(|key| *key == spec.kms_key_ref);
        let key =
            key.ok_or_else(|| Failure::misconfigured(Reason::InvalidKeyRef, "no such key"))?;
        let cloud = self.0.clone();
        Ok(Arc::new(Reached { cloud, key }))
    }

    fn permitted(&self, _: &TenantId, _: &TenantKmsSpec) -> Result<(), Failure> {
        Ok(())
    }

    async fn lent(&self, _: &TenantId, _: &SecretRef) -> Result<Zeroizing<Vec<u8>>, Failure> {
        Err(Failure::misconfigured(
            Reason::SecretNotFound,
            "nothing is lent here",
        ))
    }

    fn forget(&self, _: &TenantId) {}
}
