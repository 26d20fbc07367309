//! What goes over the wire, as small as the client needs it. Bytes are standard base64 with padding.
//! Answers are borrowed from the body, so that a plaintext is nowhere but there and with the caller.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{Error, Kind};

/// The operator's limits; what is over them is not sent.
pub(super) const MAX_BODY: usize = 1024 * 1024;
pub(super) const MAX_PLAINTEXT: usize = 512 * 1024;
pub(super) const MAX_AAD: usize = 8 * 1024;
pub(super) const MAX_ITEMS: usize = 100;

#[derive(Serialize)]
pub(super) struct SessionRequest<'a> {
    pub tenant: &'a str,
}

#[derive(Serialize)]
pub(super) struct EncryptRequest<'a> {
    pub plaintext: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aad: Option<String>,
}

/// Also one item of [`RewrapRequest`].
#[derive(Serialize)]
pub(super) struct DecryptRequest {
    pub ciphertext: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aad: Option<String>,
}

#[derive(Serialize)]
pub(super) struct DataKeyRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aad: Option<String>,
}

#[derive(Serialize)]
pub(super) struct RewrapRequest {
    pub items: Vec<DecryptRequest>,
}

#[derive(Deserialize)]
pub(super) struct SessionAnswer<'a> {
    pub session_token: &'a str,
    pub expires_at: Timestamp,
    pub ttl_seconds: u64,
    pub renew_after_seconds: u64,
}

#[derive(Deserialize)]
pub(super) struct EncryptAnswer<'a> {
    pub ciphertext: &'a str,
    pub key_id: &'a str,
}

#[derive(Deserialize)]
pub(super) struct DecryptAnswer<'a> {
    pub plaintext: &'a str,
}

/// The answer to decrypt where it is a data key.
#[derive(Deserialize)]
pub(super) struct OpenDataKeyAnswer<'a> {
    pub plaintext: &'a str,
    pub key_id: &'a str,
    pub keep_until: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct DataKeyAnswer<'a> {
    pub plaintext: &'a str,
    pub ciphertext: &'a str,
    pub key_id: &'a str,
    pub keep_until: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct RewrapAnswer<'a> {
    #[serde(borrow)]
    pub items: Vec<RewrappedItem<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RewrappedItem<'a> {
    #[serde(borrow)]
    Done(EncryptAnswer<'a>),
    Refused {
        error: Refusal,
    },
}

#[derive(Deserialize)]
pub(super) struct ErrorAnswer {
    pub error: Refusal,
}

#[derive(Deserialize)]
pub(super) struct Refusal {
    pub r#type: String,
    pub message: String,
}

/// The body of a request, overwritten when the last copy of it is dropped.
pub(super) fn body(request: &impl Serialize, strings: usize) -> Result<Bytes, Error> {
    // Room for all of it: a buffer that grows leaves copies of its contents behind.
    let mut text = Zeroizing::new(Vec::with_capacity(strings + 128));
    serde_json::to_writer(&mut *text, request).map_err(|_| {
        let why = "the request cannot be written as JSON".to_owned();
        Error::new(Kind::InvalidRequest, why)
    })?;
    if text.len() > MAX_BODY {
        return Err(too_large("a request is at most 1 MiB"));
    }
    Ok(Bytes::from_owner(text))
}

pub(super) fn too_large(why: &str) -> Error {
    Error::new(Kind::PayloadTooLarge, format!("{why}; send less at once"))
}

pub(super) fn aad(aad: &[u8]) -> Result<Option<String>, Error> {
    if aad.len() > MAX_AAD {
        return Err(too_large("additional data is at most 8 KiB"));
    }
    Ok((!aad.is_empty()).then(|| STANDARD.encode(aad)))
}

pub(super) fn secret_text(bytes: &[u8]) -> Zeroizing<String> {
    let length = base64::encoded_len(bytes.len(), true).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(length));
    STANDARD.encode_string(bytes, &mut text);
    text
}

pub(super) fn secret_bytes(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let length = base64::decoded_len_estimate(text.len());
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    STANDARD.decode_vec(text, &mut bytes).ok()?;
    Some(bytes)
}
