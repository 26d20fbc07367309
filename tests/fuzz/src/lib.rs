//! What reads bytes that somebody else may have written, and what must hold of it whatever they
//! are. The corpus in `corpus/TARGET/` is replayed by the ordinary tests.

mod authorization;
mod body;
mod ciphertext;
pub mod mutate;
mod session_token;
mod watchdog;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tenant_kms::cli::keyring::document::{self, Document, Refused};
use tenant_kms::provider::TenantId;
use tenant_kms::record::keyring::Keyring;
use tenant_kms::record::{Record, Unusable};

pub use watchdog::Watchdog;

/// How long a processor may be busy with one input of at most [`MOST`] bytes.
const DEADLINE: Duration = Duration::from_secs(2);
/// One that takes so long may never return.
pub const STUCK: Duration = Duration::from_secs(10);
/// The API server stores no Secret above a mebibyte, and the agent API takes no body.
pub const MOST: usize = 1024 * 1024;

/// One reader: its name, and the check that panics when something does not hold. Says what came of
/// the input: inputs with a new outcome are worth keeping.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    check: fn(&[u8]) -> u64,
}

/// What this thread has worked so far: on a busy machine time says nothing.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A further reader is one line here and a folder in `corpus/`.
pub const TARGETS: [Target; 10] = [
    Target {
        name: "record",
        check: record,
    },
    Target {
        name: "import",
        check: import,
    },
    Target {
        name: "ciphertext",
        check: ciphertext::check,
    },
    Target {
        name: "session_token",
        check: session_token::check,
    },
    Target {
        name: "authorization",
        check: authorization::check,
    },
    Target {
        name: "session",
        check: |input| body::check(input, body::session),
    },
    Target {
        name: "encrypt",
        check: |input| body::check(input, body::encrypt),
    },
    Target {
        name: "decrypt",
        check: |input| body::check(input, body::decrypt),
    },
    Target {
        name: "data_key",
        check: |input| body::check(input, body::data_key),
    },
    Target {
        name: "rewrap",
        check: |input| body::check(input, body::rewrap),
    },
];

impl Target {
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Checks one input, and that it does not take long.
    pub fn run(&self, input: &[u8]) -> u64 {
        let begun = worked();
        let outcome = (self.check)(input);
        let took = worked().saturating_sub(begun);
        assert!(took < DEADLINE, "{} bytes took {took:?}", input.len());
        outcome
    }

    pub fn folder(&self) -> PathBuf {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        root.join("corpus").join(self.name)
    }

    /// The inputs that are kept in the repository.
    pub fn corpus(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.folder())?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()?;
        paths.sort();
        paths.into_iter().map(fs::read).collect()
    }
}

/// Whatever is taken for an exported keyring is sound, is the same after it was written again, and
/// makes a record that reads. Its digest is set right: a wrong one would stop nearly every input at
/// the door.
fn import(input: &[u8]) -> u64 {
    let as_it_is = outcome(input);
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(input) else {
        return as_it_is;
    };
    fields.remove("sha256");
    let mut value = Value::Object(fields);
    value["sha256"] = document::digest_of(&value).into();
    outcome(value.to_string().as_bytes()) << 8 | as_it_is
}

fn outcome(input: &[u8]) -> u64 {
    let document = match Document::parse(input) {
        Ok(document) => document,
        Err(Refused::Damaged) => return 1,
        Err(Refused::Foreign) => return 2,
        Err(Refused::TooNew) => return 3,
    };
    assert!(document.keyring.is_sound(), "not sound");
    let text = document.to_text().expect("a document serializes");
    let again = Document::parse(text.as_bytes());
    assert_eq!(
        again.as_ref(),
        Ok(&document),
        "another document after a write"
    );
    let tenant = document.origin().expect("parsed with an origin");
    let live = document.keyring.live().count();
    let (uid, keyring) = (&document.tenant_uid, document.keyring.clone());
    let record = Record::restored(&tenant, uid, "here", 1, keyring);
    let written = serde_json::to_vec(&record).expect("a record serializes");
    let read = Record::parse(&written, &tenant, "here");
    assert_eq!(read.as_ref(), Ok(&record), "the record does not read");
    0x80 | live.min(80) as u64
}

/// Whatever is taken for a record is sound, and is the same record after it was written again.
fn record(input: &[u8]) -> u64 {
    let tenant = TenantId::new("tenants", "acme");
    let parsed = Record::parse(input, &tenant, "5f1c6f9e-namespace");
    let record = match parsed {
        Ok(record) => record,
        Err(Unusable::Corrupt) => return 1,
        Err(Unusable::TooNew) => return 2,
        Err(Unusable::Foreign) => return 3,
        Err(Unusable::Missing) => return 4,
    };
    let keyring = record.keyring.as_ref();
    assert!(keyring.is_none_or(Keyring::is_sound), "not sound");
    for version in keyring.into_iter().flat_map(Keyring::live) {
        let locked = keyring.and_then(|one| one.locked(version));
        assert!(locked.is_some(), "a live version has nothing to open");
    }
    let written = serde_json::to_vec(&record).expect("a record serializes");
    let again = Record::parse(&written, &tenant, "5f1c6f9e-namespace");
    assert_eq!(again.as_ref(), Ok(&record), "another record after a write");
    let twice = again.ok().and_then(|again| serde_json::to_vec(&again).ok());
    assert_eq!(twice.as_ref(), Some(&written), "written differently");
    let (all, live) = keyring.map_or((0, 0), |one| (one.versions.len(), one.live().count()));
    let shape = [
        record.sealed.is_some(),
        record.applied.is_some(),
        record.claim.is_some(),
        record.handled.rotate_requested_at.is_some(),
    ];
    let bits = shape
        .iter()
        .fold(1, |bits, one| bits << 1 | u64::from(*one));
    bits << 16 | (all.min(80) as u64) << 8 | live.min(80) as u64
}
