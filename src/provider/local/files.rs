//! The folder of the platform's keys: version N of `local://NAME` is the file `NAME.N`. It is
//! listed and read at every use, as a mounted Secret changes; nothing read here is ever kept or told.

use std::io::ErrorKind;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::envelope::{KEK_LEN, Kek};
use super::keyref::{KeyRef, Version};
use super::problem;
use crate::credentials::secret;
use crate::provider::Failure;

/// What 32 bytes take in base64.
const BASE64_LEN: usize = 44;

/// Where the files are; nowhere by default.
#[derive(Clone, Debug, Default)]
pub struct Files {
    folder: Option<PathBuf>,
}

impl Files {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// Whether there could be a key at all.
    pub fn check(&self, key: &KeyRef) -> Result<(), Failure> {
        self.folder(key).map(drop)
    }

    /// The version that wraps now.
    pub fn newest(&self, key: &KeyRef) -> Result<Version, Failure> {
        let listed = std::fs::read_dir(self.folder(key)?).map_err(|error| match error.kind() {
            ErrorKind::NotFound => problem::no_folder(key),
            _ => problem::closed_folder(key),
        })?;
        let mut newest = None;
        for entry in listed {
            let file = entry.map_err(|_| problem::closed_folder(key))?.file_name();
            let version = file
                .to_str()
                .and_then(|file| file.strip_prefix(key.name())?.strip_prefix('.'))
                .and_then(Version::parse);
            newest = newest.max(version);
        }
        newest.ok_or_else(|| problem::no_version(key))
    }

    /// The key itself, read now.
    pub fn read(&self, key: &KeyRef, version: Version) -> Result<Kek, Failure> {
        let path = self.folder(key)?.join(key.file(version));
        match secret::bytes_of(&path) {
            Ok(Some(content)) => content_of(&content)
                .map(Kek::new)
                .ok_or_else(|| problem::no_key(key, version)),
            Ok(None) => Err(problem::no_file(key, version)),
            Err(why) => Err(problem::unreadable(key, version, why)),
        }
    }

    fn folder(&self, key: &KeyRef) -> Result<&PathBuf, Failure> {
        let folder = self.folder.as_ref();
        folder.ok_or_else(|| problem::not_mounted(key))
    }
}

/// 32 bytes as they are, or in base64 with or without the line end that tools add.
fn content_of(content: &[u8]) -> Option<Zeroizing<[u8; KEK_LEN]>> {
    if let Ok(raw) = <&[u8; KEK_LEN]>::try_from(content) {
        return Some(Zeroizing::new(*raw));
    }
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    if text.len() != BASE64_LEN {
        return None;
    }
    // The decoder wants room for what the text could be at most.
    let mut decoded = Zeroizing::new([0; KEK_LEN + 1]);
    let length = STANDARD.decode_slice(text, &mut *decoded).ok()?;
    let (key, _) = decoded.split_first_chunk().filter(|_| length == KEK_LEN)?;
    Some(Zeroizing::new(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_or_their_base64() {
        let key: [u8; KEK_LEN] = std::array::from_fn(|i| 0xf0 ^ u8::try_from(i).unwrap_or(0));
        let text = STANDARD.encode(key);
        let form = |end: &str| format!("{text}{end}").into_bytes();
        for good in [key.to_vec(), form(""), form("\n"), form("\r\n")] {
            assert_eq!(content_of(&good).as_deref(), Some(&key));
        }
        let hex = crate::random::encode_hex(&key).into_bytes();
        let url_safe = text.replace('/', "_").replace('+', "-").into_bytes();
        assert_ne!(url_safe, text.as_bytes());
        for bad in [
            Vec::new(),
            key[..31].to_vec(),
            [&key[..], b"\n"].concat(),
            [&key[..], &key[..]].concat(),
            form("\n\n"),
            form(" "),
            form("\n")[1..].to_vec(),
            hex,
            url_safe,
            STANDARD.encode(&key[..31]).into_bytes(),
            STANDARD.encode([&key[..], &[1]].concat()).into_bytes(),
            text.replace('=', "A").into_bytes(),
        ] {
            assert!(content_of(&bad).is_none(), "{}", bad.len());
        }
    }
}
