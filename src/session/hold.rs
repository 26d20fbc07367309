//! One tenant's keys in the clear, the proof they rest on and what it was made for. Never changed:
//! another proof, record or version is another `Hold`. Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::Moment;
use crate::record::Record;
use crate::record::keyring::wrapping::Opened;
use crate::record::keyring::{KeyId, Keyring, MasterKey, SessionKey};

/// How late a proof may be made.
const LATE: Duration = Duration::from_secs(5);

/// One master key.
#[derive(Debug)]
pub struct Version {
    opened: Opened,
    /// Derived when it is used first.
    session: OnceLock<SessionKey>,
    used: LastUse,
}

impl From<Opened> for Version {
    fn from(opened: Opened) -> Self {
        Self {
            opened,
            session: OnceLock::new(),
            used: LastUse::default(),
        }
    }
}

impl Version {
    pub fn id(&self) -> &KeyId {
        &self.opened.id
    }

    pub fn key(&self) -> &MasterKey {
        &self.opened.key
    }

    /// What the sessions are signed with that began while this one was active.
    pub fn session_key(&self, tenant_uid: &str) -> &SessionKey {
        let derive = || self.opened.key.session_key(tenant_uid, &self.opened.id);
        self.session.get_or_init(derive)
    }
}

/// How long a session may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub ttl: Duration,
    /// How often the key is proved.
    pub interval: Duration,
    pub proof_ttl: Duration,
    /// Not beyond the proof either: the key is a customer's.
    pub within_proof: bool,
}

impl Terms {
    /// Of the spec in force.
    fn of(record: &Record) -> Option<Self> {
        let spec = &record.applied.as_ref()?.spec;
        let timing = spec.timing();
        Some(Self {
            ttl: spec.session_ttl(),
            interval: timing.interval,
            proof_ttl: timing.proof_ttl,
            within_proof: record.claim.is_some(),
        })
    }
}

/// What the keyring says of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Live,
    Erased,
}

/// When the tenant was last used here, on the boot clock.
#[derive(Debug, Default)]
pub struct LastUse(AtomicU64);

impl LastUse {
    pub fn mark(&self, now: Moment) {
        let seconds = now.boot.as_secs();
        // Written once a second, not at each of thousands of calls.
        if self.0.load(Ordering::Relaxed) < seconds {
            self.0.store(seconds, Ordering::Relaxed);
        }
    }

    /// Nothing when it never was.
    pub fn at(&self) -> Option<Duration> {
        let seconds = self.0.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

#[derive(Clone, Debug)]
pub struct Hold {
    pub tenant_uid: String,
    /// Of the record: a session of an earlier one is over.
    pub epoch: u64,
    pub terms: Terms,
    pub proof: Moment,
    /// Up to which change of the object the record was looked at; the holder, who writes both, need
    /// not look.
    pub seen: Option<u64>,
    active: Arc<Version>,
    retired: Vec<Arc<Version>>,
    keyring: Vec<(KeyId, Standing)>,
    used: Arc<LastUse>,
}

impl Hold {
    /// What `opened`, the active key of `record`, may be used for; nothing when it is not.
    pub fn new(record: &Record, opened: Opened, proof: Moment) -> Option<Self> {
        let keyring = record.keyring.as_ref()?;
        let terms = Terms::of(record)?;
        opened.is_active_of(keyring).then(|| Self {
            tenant_uid: record.tenant_uid.clone(),
            epoch: record.seal_epoch,
            terms,
            proof,
            seen: None,
            active: Arc::new(opened.into()),
            retired: Vec::new(),
            keyring: standings(keyring),
            used: Arc::default(),
        })
    }

    /// For a replica that does not hold the shard: what it has seen, and where its use is noted.
    #[must_use]
    pub fn of_guest(self, seen: u64, used: Arc<LastUse>) -> Self {
        Self {
            seen: Some(seen),
            used,
            ..self
        }
    }

    pub fn holds(&self, now: Moment) -> bool {
        now.is_within(self.terms.proof_ttl, self.proof)
    }

    /// Whether the key should have been proved again by now.
    pub(super) fn is_overdue(&self, now: Moment) -> bool {
        now.since(self.proof) >= self.terms.interval + LATE
    }

    pub fn active(&self) -> &Arc<Version> {
        &self.active
    }

    /// A version, if it is open.
    pub fn version(&self, id: &KeyId) -> Option<&Arc<Version>> {
        self.open().find(|one| one.id() == id)
    }

    /// The same, to use it now.
    pub fn use_version(&self, id: &KeyId, now: Moment) -> Option<&Arc<Version>> {
        self.version(id).inspect(|one| one.used.mark(now))
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Version>> {
        std::iter::once(&self.active).chain(&self.retired)
    }

    /// What the keyring says of a version; nothing of one that it does not know.
    pub fn standing(&self, id: &KeyId) -> Option<Standing> {
        let found = self.keyring.iter().find(|(one, _)| one == id);
        found.map(|(_, standing)| *standing)
    }

    pub fn mark_used(&self, now: Moment) {
        self.used.mark(now);
    }

    /// For how long a session may last that begins now.
    pub fn session(&self, now: Moment) -> Duration {
        if self.terms.within_proof {
            let left = self.terms.proof_ttl.saturating_sub(now.since(self.proof));
            self.terms.ttl.min(left)
        } else {
            self.terms.ttl
        }
    }

    fn is_live(&self, id: &KeyId) -> bool {
        self.standing(id) == Some(Standing::Live)
    }

    /// With what was opened before, still is this tenant's and was used lately.
    pub(super) fn succeeding(mut self, before: &Self) -> Self {
        let lately = |one: &Version| {
            let used = one.used.at();
            used.is_some_and(|at| self.proof.boot.saturating_sub(at) < self.terms.proof_ttl)
        };
        if self.tenant_uid == before.tenant_uid {
            let kept = before.open().filter(|one| {
                one.id() != self.active.id() && self.is_live(one.id()) && lately(one)
            });
            self.retired = kept.cloned().collect();
        }
        self
    }

    /// With one more version, opened by the same version of the same key that the proof is of.
    pub(super) fn with(&self, tenant_uid: &str, opened: Opened) -> Option<(Self, Arc<Version>)> {
        let active = &self.active.opened;
        let fits = self.tenant_uid == tenant_uid
            && opened.key_id == active.key_id
            && opened.wrapped.kek_version == active.wrapped.kek_version
            && self.is_live(&opened.id);
        if !fits {
            return None;
        }
        if let Some(known) = self.version(&opened.id) {
            return Some((self.clone(), known.clone()));
        }
        let version: Arc<Version> = Arc::new(opened.into());
        let mut more = self.clone();
        more.retired.push(version.clone());
        Some((more, version))
    }

    /// The same with the record's word on terms and versions; nothing when the active one is another, or
    /// sessions are of another epoch.
    pub(super) fn settled(&self, record: &Record) -> Option<Self> {
        let keyring = record.keyring.as_ref()?;
        let terms = Terms::of(record)?;
        let fits = record.tenant_uid == self.tenant_uid
            && record.seal_epoch == self.epoch
            && self.active.opened.is_active_of(keyring);
        fits.then(|| {
            let mut settled = Self {
                keyring: standings(keyring),
                terms,
                ..self.clone()
            };
            let live: Vec<_> = settled.retired.drain(..).collect();
            settled.retired = live
                .into_iter()
                .filter(|one| settled.is_live(one.id()))
                .collect();
            settled
        })
    }

    pub(super) fn as_of(&self, changes: u64) -> Self {
        Self {
            seen: Some(changes),
            ..self.clone()
        }
    }
}

fn standings(keyring: &Keyring) -> Vec<(KeyId, Standing)> {
    let standing = |live: bool| {
        if live {
            Standing::Live
        } else {
            Standing::Erased
        }
    };
    keyring
        .versions
        .iter()
        .map(|one| (one.id.clone(), standing(one.key.wrapped().is_some())))
        .collect()
}
