//! `local://NAME` and the versions of a key. Both become parts of a file's name, so nothing passes
//! here that could lead to another file.

use std::fmt;
use std::num::NonZeroU32;

use super::problem;
use crate::provider::Failure;

const SCHEME: &str = "local://";

/// A key of the platform, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    id: String,
}

impl KeyRef {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match text.strip_prefix(SCHEME) {
            Some(name) if is_name(name) => Ok(Self {
                id: text.to_owned(),
            }),
            _ => Err(problem::no_key_ref()),
        }
    }

    /// There is one spelling of each key.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn name(&self) -> &str {
        &self.id[SCHEME.len()..]
    }

    /// The file of one version.
    pub fn file(&self, version: Version) -> String {
        format!("{}.{version}", self.name())
    }
}

/// Lower-case letters, digits and inner hyphens, at most 63.
pub fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// 1, 2, 3, …: the higher is the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(NonZeroU32);

impl Version {
    /// In decimal, in the one spelling that [`fmt::Display`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        let version = Self(text.parse().ok()?);
        (version.to_string() == text).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::provider::Kind;

    #[test]
    fn a_name_leads_to_no_other_file() {
        let longest = format!("local://{}", "a".repeat(63));
        for good in ["local://standard", "local://a", "local://eu-1", &longest] {
            let key = KeyRef::parse(good).expect(good);
            assert_eq!(key.id(), good);
            assert_eq!(format!("local://{}", key.name()), good);
        }
        let too_long = format!("{longest}a");
        for bad in [
            "standard",
            "local://",
            "local:standard",
            "LOCAL://standard",
            "local://Standard",
            "local://-a",
            "local://a-",
            "local://..",
            "local://../standard",
            "local:///etc/passwd",
            "local://a/b",
            "local://a.1",
            "local://a%2e",
            "local://a\0",
            "local://a b",
            "local://é",
            &too_long,
        ] {
            let failure = KeyRef::parse(bad).expect_err(bad);
            let about = (failure.kind, failure.reason);
            assert_eq!(about, (Kind::Misconfigured, Reason::InvalidKeyRef), "{bad}");
            assert_eq!(failure, problem::no_key_ref(), "the text is not repeated");
        }
    }

    #[test]
    fn a_version_has_one_spelling() {
        for good in ["1", "2", "10", "4294967295"] {
            assert_eq!(Version::parse(good).expect(good).to_string(), good);
        }
        for bad in [
            "",
            "0",
            "01",
            "+1",
            "-1",
            "1 ",
            "1.",
            "a",
            "４",
            "4294967296",
            "../1",
        ] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        assert!(Version::parse("10") > Version::parse("9"));
    }
}
