//! Keys looked for in another process's memory while it stands still, in every form in which they travel.
//! Never prints what it finds, only where.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use harness::Operator;

use super::pages::Memory;

/// Short enough that a copy of which a part was overwritten is seen, long enough to be no accident.
const PIECE: usize = 8;
/// How much of it is read at a time.
pub const CHUNK: usize = 1 << 20;

/// A piece of a key in one of its forms.
struct Needle {
    key: usize,
    form: &'static str,
    bytes: Vec<u8>,
}

/// Where a piece of a key lies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Find {
    pub key: usize,
    pub form: &'static str,
    pub address: u64,
    region: String,
}

impl fmt::Debug for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            form,
            address,
            region,
        } = self;
        write!(f, "key {key} as {form} at {address:x} in {region}")
    }
}

/// What to look for: raw, hex, and base64 wherever in a text the key may begin.
struct Needles {
    /// By the first two bytes.
    starts: Vec<Vec<Needle>>,
    longest: usize,
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// The characters of base64 that depend on the key alone, when `before` bytes stand before it.
fn in_base64(engine: &impl Engine, key: &[u8], before: usize) -> Vec<u8> {
    let text = engine.encode([&vec![0; before], key].concat());
    let whole = (before + key.len()) * 8 / 6;
    text.as_bytes()[(before * 8).div_ceil(6)..whole].to_vec()
}

impl Needles {
    fn of(keys: &[Vec<u8>]) -> Self {
        let mut all: Vec<Needle> = Vec::new();
        let mut add = |key, form, bytes: &[u8], length: usize| {
            for piece in bytes.chunks_exact(length) {
                let bytes = piece.to_vec();
                all.push(Needle { key, form, bytes });
            }
        };
        for (at, key) in keys.iter().enumerate() {
            add(at, "raw", key, PIECE);
            // As HMAC begins with it.
            for (form, pad) in [("inner", 0x36), ("outer", 0x5c)] {
                let padded: Vec<u8> = key.iter().map(|byte| byte ^ pad).collect();
                add(at, form, &padded, PIECE);
            }
            let hex = key.iter().map(|byte| format!("{byte:02x}"));
            let hex: String = hex.collect();
            add(at, "hex", hex.as_bytes(), 2 * PIECE);
            add(at, "hex", hex.to_ascii_uppercase().as_bytes(), 2 * PIECE);
            for before in 0..3 {
                let text = in_base64(&STANDARD_NO_PAD, key, before);
                add(at, "base64", &text, PIECE * 4 / 3);
                let text = in_base64(&URL_SAFE_NO_PAD, key, before);
                add(at, "base64url", &text, PIECE * 4 / 3);
            }
        }
        let longest = all.iter().map(|one| one.bytes.len()).max();
        let longest = longest.unwrap_or_default();
        let mut starts: Vec<Vec<Needle>> = (0..1 << 16).map(|_| Vec::new()).collect();
        for needle in all {
            starts[start(&needle.bytes)].push(needle);
        }
        Self { starts, longest }
    }

    fn search(&self, text: &[u8], mut found: impl FnMut(&Needle, usize)) {
        for (at, two) in text.windows(2).enumerate() {
            let here = &text[at..];
            let begin = self.starts[start(two)].iter();
            for needle in begin.filter(|one| here.starts_with(&one.bytes)) {
                found(needle, at);
            }
        }
    }
}

/// What a search saw.
pub struct Seen {
    pub found: BTreeSet<Find>,
    /// How many pages were looked at.
    pub pages: u64,
}

/// Every place in the operator's memory where a piece of one of `keys` lies.
pub fn search(operator: &Operator, keys: &[Vec<u8>]) -> Result<BTreeSet<Find>> {
    operator.pause()?;
    let seen = search_stopped(operator.pid(), keys);
    operator.resume()?;
    let Seen { found, pages } = seen?;
    ensure!(
        pages > 100,
        "only {pages} pages hold anything: that is no operator"
    );
    Ok(found)
}

/// The same of any process that stands still.
pub fn search_stopped(pid: u32, keys: &[Vec<u8>]) -> Result<Seen> {
    let memory = Memory::of(pid)?;
    let needles = Needles::of(keys);
    let mut found = BTreeSet::new();
    let mut pages = 0;
    let page = usize::try_from(memory.page)?;
    let zeros = vec![0; page + needles.longest];
    let mut buffer = vec![0; CHUNK + needles.longest];
    for run in &memory.runs {
        for at in run.clone().step_by(CHUNK) {
            let rest = usize::try_from(run.end - at)?;
            // What begins in one part may end in the next.
            let part = &mut buffer[..rest.min(CHUNK + needles.longest)];
            memory.read(part, at)?;
            for from in (0..rest.min(CHUNK)).step_by(page) {
                pages += 1;
                let text = &part[from..part.len().min(from + zeros.len())];
                if *text == zeros[..text.len()] {
                    continue;
                }
                needles.search(text, |needle, inside| {
                    let address = at + (from + inside) as u64;
                    found.insert(Find {
                        key: needle.key,
                        form: needle.form,
                        address,
                        region: memory.name(address).to_owned(),
                    });
                });
            }
        }
    }
    Ok(Seen { found, pages })
}

/// Whether the whole key lies somewhere as it is.
pub fn is_whole(found: &BTreeSet<Find>, key: usize) -> bool {
    let raw = |one: &&Find| one.key == key && one.form == "raw";
    let at: BTreeSet<u64> = found.iter().filter(raw).map(|one| one.address).collect();
    let follows = |start: &&u64| (0..4).all(|piece| at.contains(&(*start + piece * PIECE as u64)));
    at.iter().any(|start| follows(&start))
}

#[test]
fn a_key_is_found_in_every_form_and_half_of_it_too() {
    let key: Vec<u8> = (100..132).collect();
    let keys = [key.clone()];
    let needles = Needles::of(&keys);
    let forms = |text: &[u8]| {
        let mut forms = BTreeSet::new();
        needles.search(text, |needle, _| {
            forms.insert(needle.form);
        });
        forms.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(forms(&key), ["raw"]);
    assert_eq!(forms(&[&[0; 7], &key[9..25]].concat()), ["raw"]);
    for before in 0..3 {
        let bytes = [&vec![9; before], &key[..], &[9]].concat();
        let text = STANDARD_NO_PAD.encode(&bytes);
        assert!(forms(text.as_bytes()).contains(&"base64"), "{before}");
        let text = URL_SAFE_NO_PAD.encode(&bytes);
        assert!(forms(text.as_bytes()).contains(&"base64url"), "{before}");
    }
    assert_eq!(forms(b"..7071727374757677.."), Vec::<&str>::new());
    assert_eq!(forms(b"..6c6d6e6f70717273.."), ["hex"]);
    assert_eq!(forms(b"..6C6D6E6F70717273.."), ["hex"]);
    assert_eq!(forms(&[0; 99]), Vec::<&str>::new());
}
