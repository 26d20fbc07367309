//! What attempts bring back. Pure values; a master key in the clear moves through here once, on its
//! way to where keys are held.

use crate::api::TenantKmsSpec;
use crate::clock::Moment;
use crate::provider::{Attributes, Failure, Proved as Probed};
use crate::record::Record;
use crate::record::keyring::wrapping::Opened;
use crate::record::keyring::{Kek, Locked, Rewrapped};

/// What a change of a keyring was made for: it fits no other tenant and no other revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    pub tenant_uid: String,
    /// 0 where there was no keyring.
    pub revision: u64,
}

impl Basis {
    pub fn of(record: &Record) -> Self {
        Self {
            tenant_uid: record.tenant_uid.clone(),
            revision: record.revision(),
        }
    }
}

/// How the key was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    pub kek_version: String,
    pub identity: String,
}

/// What a key service says of a key; `Ok(None)` where it says nothing.
pub type Reading = Result<Option<Attributes>, Failure>;

/// The spec in force works.
#[derive(Debug)]
pub struct Checked {
    pub success: Success,
    /// The active master key; none for a tenant that has no keyring yet.
    pub opened: Option<Opened>,
}

/// A new spec works.
#[derive(Debug)]
pub struct Tried {
    pub success: Success,
    /// The key's id, if it is to belong to the tenant's namespace alone.
    pub claim: Option<String>,
    pub reading: Option<Reading>,
    /// The keyring that was looked at.
    pub basis: Basis,
    pub change: Change,
    pub opened: Option<Opened>,
}

/// What a new spec does to the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The same key opens the active version.
    None,
    /// There was no live version.
    Begin { kek: Kek, minted: Locked },
    /// Another key, or another version of it, wraps every live version.
    Rewrap(Rewrapped),
}

/// A further master key, and the others under the newest version of the customer's key.
#[derive(Debug)]
pub struct Rotated {
    pub kek: Kek,
    pub minted: Locked,
    pub rewrapped: Option<Rewrapped>,
    pub opened: Opened,
}

/// What was seen beside the checks: of the key, and by a full probe.
#[derive(Clone, Debug)]
pub struct Surveyed {
    pub reading: Reading,
    pub probed: Result<Probed, Failure>,
}

/// A candidate that was proved and waits to be put on record.
#[derive(Debug)]
pub struct Proved {
    pub spec: TenantKmsSpec,
    pub generation: i64,
    pub started: Moment,
    pub tried: Tried,
}

impl Proved {
    /// Whether the proof may still be relied on.
    pub fn holds(&self, now: Moment) -> bool {
        now.is_within(self.spec.timing().proof_ttl, self.started)
    }
}
