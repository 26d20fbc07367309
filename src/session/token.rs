//! Session tokens: what a workload shows with each request, and any replica verifies without
//! state. Pure. Nothing in a token is believed before its MAC is verified.
//!
//! `tks1_` and in base64url: `1 | key id 16 | epoch 8 | issued 8 | expires 8 | caller 16 | length 2 |
//! namespace/name | HMAC-SHA256 32`; the MAC is over the tenant's uid, after its length in 8 bytes,
//! and all that stands before it.

use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::provider::TenantId;
use crate::record::keyring::{KeyId, SessionKey};

#[cfg(test)]
mod tests;

const PREFIX: &str = "tks1_";
const FORMAT: u8 = 1;
const MAC_LEN: usize = 32;
const CALLER_LEN: usize = 16;
/// Before the tenant's name: format, key id, three numbers, caller, the name's length.
const FIXED_LEN: usize = 1 + KeyId::LENGTH + 3 * 8 + CALLER_LEN + 2;
/// A namespace is one label, an object's name a DNS name.
const MOST_TENANT: usize = 63 + 1 + 253;
/// The longest token there is.
pub const MOST: usize = PREFIX.len() + (FIXED_LEN + MOST_TENANT + MAC_LEN).div_ceil(3) * 4;
/// How far the clocks of two replicas may be apart. A token from further in the future was issued
/// before a clock was set back.
pub const TOLERATED_SKEW: u64 = 60;

/// Who may use a session: the first half of a SHA-256 of what tells the caller from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller([u8; CALLER_LEN]);

impl Caller {
    pub fn of(digest: &[u8; 32]) -> Self {
        let half = digest.first_chunk();
        Self(*half.expect("32 bytes have a first half"))
    }
}

/// What a token says. Times are in seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub tenant: TenantId,
    /// The master key that was active at issue.
    pub key_id: KeyId,
    /// The tenant's seal epoch at issue.
    pub epoch: u64,
    pub issued: u64,
    pub expires: u64,
    pub caller: Caller,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this is no session token: get one with POST /agent/v1/session")]
    Malformed,
    #[error("this session token was not issued here: get one with POST /agent/v1/session")]
    Forged,
    #[error("this session token was issued to another caller: get your own")]
    OtherCaller,
    #[error("this session ended when its tenant was sealed: get a new one")]
    EarlierEpoch,
    #[error(
        "this session begins in the future, so a clock was set back: look at the nodes' clocks, \
         and get a new one"
    )]
    FromTheFuture,
    #[error("this session has expired: get a new one")]
    Expired,
}

/// What a token is held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub tenant_uid: &'a str,
    pub caller: Caller,
    /// The tenant's seal epoch as far as this replica knows. A later one in a token is another
    /// replica's that knows more, and no reason to refuse.
    pub epoch: u64,
    /// How long a session may last by the spec in force, which may be another than at issue.
    pub ttl: u64,
    pub now: u64,
}

/// The token for these claims; none when no tenant can have this name.
pub fn issue(key: &SessionKey, tenant_uid: &str, claims: &Claims) -> Option<String> {
    let mut bytes = claims.encode()?;
    let mac = sign(key, tenant_uid, &bytes);
    bytes.extend_from_slice(mac.as_ref());
    Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes)))
}

/// A token in the right form, that anybody may have made.
#[derive(Clone, Debug)]
pub struct Unverified {
    claims: Claims,
    signed: Vec<u8>,
    mac: [u8; MAC_LEN],
}

impl Unverified {
    pub fn parse(token: &str) -> Result<Self, Refused> {
        Self::read(token).ok_or(Refused::Malformed)
    }

    fn read(token: &str) -> Option<Self> {
        if token.len() > MOST {
            return None;
        }
        // Of several texts for the same bytes only one is taken.
        let mut signed = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (said, mac) = signed.split_last_chunk()?;
        let (claims, mac) = (Claims::decode(said)?, *mac);
        signed.truncate(signed.len() - MAC_LEN);
        Some(Self {
            claims,
            signed,
            mac,
        })
    }

    /// Whose key to verify it with.
    pub fn tenant(&self) -> &TenantId {
        &self.claims.tenant
    }

    /// Which key to verify it with.
    pub fn key_id(&self) -> &KeyId {
        &self.claims.key_id
    }

    /// What it says, with the end that it has now. `key` is the session key of [`Self::key_id`] and the
    /// expected tenant.
    pub fn verify(self, key: &SessionKey, expected: &Expected<'_>) -> Result<Claims, Refused> {
        let mac = sign(key, expected.tenant_uid, &self.signed);
        constant_time::verify_slices_are_equal(mac.as_ref(), &self.mac)
            .map_err(|_| Refused::Forged)?;
        let claims = self.claims;
        if claims.caller != expected.caller {
            return Err(Refused::OtherCaller);
        }
        if claims.epoch < expected.epoch {
            return Err(Refused::EarlierEpoch);
        }
        if claims.issued > expected.now.saturating_add(TOLERATED_SKEW) {
            return Err(Refused::FromTheFuture);
        }
        let expires = claims.issued.saturating_add(expected.ttl);
        let expires = expires.min(claims.expires);
        if expires <= expected.now {
            return Err(Refused::Expired);
        }
        Ok(Claims { expires, ..claims })
    }
}

fn sign(key: &SessionKey, tenant_uid: &str, said: &[u8]) -> aws_lc_rs::hmac::Tag {
    let length = (tenant_uid.len() as u64).to_be_bytes();
    key.sign(&[&length, tenant_uid.as_bytes(), said])
}

impl Claims {
    fn encode(&self) -> Option<Vec<u8>> {
        let tenant = self.tenant.to_string();
        TenantId::parse(&tenant)?;
        let length = u16::try_from(tenant.len()).ok()?;
        let mut bytes = Vec::with_capacity(FIXED_LEN + tenant.len() + MAC_LEN);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.key_id.to_bytes());
        for number in [self.epoch, self.issued, self.expires] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.caller.0);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(tenant.as_bytes());
        Some(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (key_id, bytes) = bytes.strip_prefix(&[FORMAT])?.split_first_chunk()?;
        let (epoch, bytes) = bytes.split_first_chunk()?;
        let (issued, bytes) = bytes.split_first_chunk()?;
        let (expires, bytes) = bytes.split_first_chunk()?;
        let (caller, bytes) = bytes.split_first_chunk()?;
        let (length, tenant) = bytes.split_first_chunk()?;
        if tenant.len() != usize::from(u16::from_be_bytes(*length)) {
            return None;
        }
        Some(Self {
            tenant: TenantId::parse(str::from_utf8(tenant).ok()?)?,
            key_id: KeyId::from_bytes(*key_id),
            epoch: u64::from_be_bytes(*epoch),
            issued: u64::from_be_bytes(*issued),
            expires: u64::from_be_bytes(*expires),
            caller: Caller(*caller),
        })
    }
}
