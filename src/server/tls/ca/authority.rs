//! The authorities as they are stored: newest first, in a format with a version.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::server::tls::pair::Validity;

const FORMAT: u32 = 1;
/// Two are usual.
const MOST: usize = 8;
const MAX_BYTES: usize = 64 * 1024;

/// One certificate authority.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// PEM.
    pub certificate: String,
    /// PEM; none once it will issue nothing more.
    pub key: Option<Zeroizing<String>>,
    pub validity: Validity,
    /// When it had been published in every namespace.
    pub published: Option<Timestamp>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("validity", &self.validity)
            .field("issues", &self.key.is_some())
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    format: u32,
    #[serde(borrow)]
    authorities: Vec<One<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    certificate: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<Timestamp>,
}

/// Reads what [`write`] wrote; or why not.
pub fn read(body: &[u8]) -> Result<Vec<Authority>, &'static str> {
    const DAMAGED: &str = "what it holds is not what the operator writes";
    if body.len() > MAX_BYTES {
        return Err(DAMAGED);
    }
    let Format { format } = serde_json::from_slice(body).map_err(|_| DAMAGED)?;
    if format > FORMAT {
        return Err("a newer version of the operator wrote it; install that version");
    }
    let stored: Stored = serde_json::from_slice(body).map_err(|_| DAMAGED)?;
    if stored.authorities.is_empty() || stored.authorities.len() > MOST {
        return Err(DAMAGED);
    }
    let authority = |one: One<'_>| {
        let certificate = CertificateDer::from_pem_slice(one.certificate.as_bytes()).ok()?;
        Some(Authority {
            validity: Validity::of(&certificate)?,
            certificate: one.certificate.into_owned(),
            key: one.key.map(|key| Zeroizing::new(key.into_owned())),
            published: one.published_at,
        })
    };
    let authorities = stored.authorities.into_iter().map(authority);
    authorities.collect::<Option<_>>().ok_or(DAMAGED)
}

pub fn write(authorities: &[Authority]) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let authorities = authorities.iter().map(|one| One {
        certificate: one.certificate.as_str().into(),
        key: one.key.as_ref().map(|key| key.as_str().into()),
        published_at: one.published,
    });
    let stored = Stored {
        format: FORMAT,
        authorities: authorities.collect(),
    };
    serde_json::to_vec(&stored).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tls::ca::mint;

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut old = mint::authority(now).expect("made");
        old.key = None;
        old.published = Some(now);
        let new = mint::authority(now).expect("made");
        let both = vec![new, old];
        let written = write(&both).expect("written");
        assert_eq!(read(&written), Ok(both));

        let text = String::from_utf8(written.to_vec()).expect("text");
        for (from, to) in [
            (r#""format":1"#, r#""format":2"#),
            ("BEGIN CERTIFICATE", "BEGIN NONSENSE"),
            (r#""authorities":["#, r#""authorities":[{},"#),
        ] {
            assert!(text.contains(from));
            assert!(read(text.replace(from, to).as_bytes()).is_err(), "{to}");
        }
        assert!(read(br#"{"format":1,"authorities":[]}"#).is_err());
        assert!(read(b"").is_err());
        assert!(!format!("{:?}", read(&written)).contains("PRIVATE"));
    }
}
