//! The writable memory of another process, read from /proc while it stands still, and keys looked for
//! in it in every form in which they travel. Never prints what it finds, only where.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use harness::Operator;

/// Short enough that a copy of which a part was overwritten is seen, long enough to be no accident.
const PIECE: usize = 8;
const CHUNK: usize = 1 << 20;
const PAGE: usize = 4096;

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

/// A mapping that may hold data of the process.
struct Region {
    from: u64,
    to: u64,
    name: String,
}

fn regions(maps: &str) -> Result<Vec<Region>> {
    let writable = |line: &&str| {
        line.split(' ')
            .nth(1)
            .is_some_and(|may| may.starts_with("rw"))
    };
    let region = |line: &str| {
        let range = line.split(' ').next().unwrap_or_default();
        let (from, to) = range.split_once('-').context("a range")?;
        anyhow::Ok(Region {
            from: u64::from_str_radix(from, 16)?,
            to: u64::from_str_radix(to, 16)?,
            name: line.to_owned(),
        })
    };
    maps.lines().filter(writable).map(region).collect()
}

/// Every place in the operator's writable memory where a piece of one of `keys` lies.
pub fn search(operator: &Operator, keys: &[Vec<u8>]) -> Result<BTreeSet<Find>> {
    operator.pause()?;
    let found = search_stopped(operator.pid(), keys);
    operator.resume()?;
    found
}

fn search_stopped(pid: u32, keys: &[Vec<u8>]) -> Result<BTreeSet<Find>> {
    let refused =
        "the operator's memory may be read by root alone (CAP_SYS_PTRACE): run this as root";
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).context(refused)?;
    let memory = File::open(format!("/proc/{pid}/mem")).context(refused)?;
    let needles = Needles::of(keys);
    let mut found = BTreeSet::new();
    let mut looked = 0;
    for region in regions(&maps)? {
        let size = usize::try_from(region.to - region.from)?;
        let mut buffer = vec![0; CHUNK + needles.longest];
        for offset in (0..size).step_by(CHUNK) {
            let length = buffer.len().min(size - offset);
            let part = &mut buffer[..length];
            let at = region.from + offset as u64;
            memory
                .read_exact_at(part, at)
                .with_context(|| region.name.clone())?;
            // Most pages were never touched.
            for page in (0..length).step_by(PAGE) {
                let end = length.min(page + PAGE + needles.longest);
                if part[page..end].iter().step_by(1).all(|byte| *byte == 0) {
                    continue;
                }
                looked += 1;
                needles.search(&part[page..end], |needle, inside| {
                    found.insert(Find {
                        key: needle.key,
                        form: needle.form,
                        address: at + (page + inside) as u64,
                        region: region.name.clone(),
                    });
                });
            }
        }
    }
    ensure!(
        looked > 100,
        "only {looked} pages hold anything: that is no operator"
    );
    Ok(found)
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
