//! Looks for secrets in whatever people and disks get to see. It must find them in every form in
//! which they travel, or it proves nothing.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

/// Where a secret might turn up.
#[derive(Debug)]
pub struct Place {
    pub name: String,
    pub text: Vec<u8>,
}

pub fn place(name: &str, text: impl Into<Vec<u8>>) -> Place {
    Place {
        name: name.to_owned(),
        text: text.into(),
    }
}

/// What is looked for: each value as it is and as a form would carry it, and of a token the
/// signature alone, too.
pub fn needles(values: &[String]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for value in values {
        let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        all.push(value.clone().into_bytes());
        all.push(encoded.into_bytes());
        if let Some((_, signature)) = value.rsplit_once('.')
            && signature.len() > 40
        {
            all.push(signature.as_bytes().to_vec());
        }
    }
    all.retain(|needle| needle.len() >= 8);
    all.sort();
    all.dedup();
    all
}

/// The places that hold any of these, with what stands around the first find.
pub fn found(places: &[Place], needles: &[Vec<u8>]) -> Vec<String> {
    // Texts and needles are many: two bytes, then four rule out nearly every place.
    let mut starts = vec![false; 1 << 16];
    let start = |four: &[u8]| usize::from(four[0]) << 8 | usize::from(four[1]);
    for needle in needles {
        starts[start(needle)] = true;
    }
    let fours: HashSet<&[u8]> = needles.iter().map(|needle| &needle[..4]).collect();
    let hit = |place: &Place| {
        let at = place.text.windows(4).enumerate().position(|(at, four)| {
            starts[start(four)]
                && fours.contains(four)
                && needles.iter().any(|one| place.text[at..].starts_with(one))
        })?;
        let around = &place.text[at.saturating_sub(80)..place.text.len().min(at + 40)];
        Some(format!(
            "{}: {}",
            place.name,
            String::from_utf8_lossy(around)
        ))
    };
    places.iter().filter_map(hit).collect()
}

/// Every file of etcd: its database and its log, Secrets included. No Secret holds a canary, so
/// nothing is left out.
pub fn etcd(folder: &Path, into: &mut Vec<Place>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            etcd(&path, into)?;
        } else if let Ok(text) = fs::read(&path) {
            // A file of the log may be renamed meanwhile; what it held is in the next one.
            into.push(place(&format!("etcd {}", path.display()), text));
        }
    }
    Ok(())
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let token = format!("eyJh.eyJi.{}", "c".repeat(64));
    let wanted = needles(&["s3cr3t~canary".to_owned(), "a b&c d~e".to_owned(), token]);
    for text in [
        "..s3cr3t~canary..".to_owned(),
        "x=a+b%26c+d%7Ee".to_owned(),
        "c".repeat(64),
    ] {
        assert_eq!(found(&[place("here", text)], &wanted).len(), 1);
    }
    assert!(found(&[place("here", "nothing of that kind")], &wanted).is_empty());
}
