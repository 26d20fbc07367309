//! The bodies of the agent API: what is accepted is the same when it is written again, and what is
//! refused is told in fixed words.

use serde_json::{Value, json};
use tenant_kms::server::agent::body::{
    self, Base64, DataKeyRequest, DecryptRequest, EncryptRequest, MOST_ITEMS, RewrapRequest,
    SessionRequest,
};
use tenant_kms::server::agent::error::{Error, Kind};

/// All that is ever said, without its numbers.
const SAID: [(Kind, &str); 8] = [
    (
        Kind::InvalidRequest,
        "The body is not the JSON object that this call takes (line , column ); the fields are in GET \
         /agent/v/openapi.json.",
    ),
    (
        Kind::InvalidRequest,
        "plaintext must be standard base with padding.",
    ),
    (
        Kind::InvalidRequest,
        "ciphertext must be standard base with padding.",
    ),
    (
        Kind::InvalidRequest,
        "aad must be standard base with padding.",
    ),
    (Kind::InvalidRequest, "items must be  to  ciphertexts."),
    (
        Kind::PayloadTooLarge,
        "plaintext may have at most  bytes before base.",
    ),
    (
        Kind::PayloadTooLarge,
        "ciphertext may have at most  bytes before base.",
    ),
    (
        Kind::PayloadTooLarge,
        "aad may have at most  bytes before base.",
    ),
];

type Read = fn(&[u8]) -> Result<Value, Error>;

/// `read` gives what was accepted as JSON, an item that was refused as null.
pub fn check(input: &[u8], read: Read) -> u64 {
    let accepted = match read(input) {
        Ok(accepted) => accepted,
        Err(error) => return refused(&error),
    };
    let given: Value = serde_json::from_slice(input).expect("it was read as JSON");
    assert!(is_same(&given, &accepted), "{given} became {accepted}");
    let written = accepted.to_string();
    if accepted["items"]
        .as_array()
        .is_some_and(|items| items.contains(&Value::Null))
    {
        return 0x40;
    }
    let again = read(written.as_bytes());
    assert_eq!(again.ok().as_ref(), Some(&accepted), "not the same again");
    let items = accepted["items"].as_array().map_or(0, Vec::len);
    0x80 | u64::from(accepted["aad"].is_string()) | (items.min(128) as u64) << 8
}

fn refused(error: &Error) -> u64 {
    let words: String = error
        .message
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .collect();
    let known = SAID
        .iter()
        .position(|said| *said == (error.kind, words.as_str()));
    let known = known.unwrap_or_else(|| panic!("said {error:?}"));
    assert_eq!(error.retry_after, None);
    known as u64
}

/// Absent is the same as null, and nothing else the same as anything.
fn is_same(given: &Value, accepted: &Value) -> bool {
    match (given, accepted) {
        (_, Value::Null) => true,
        (Value::Object(given), Value::Object(accepted)) => {
            let known = |name: &String| accepted.contains_key(name);
            let same = |(name, value)| is_same(given.get(name).unwrap_or(&Value::Null), value);
            given.keys().all(known) && accepted.iter().all(same)
        }
        (Value::Array(given), Value::Array(accepted)) => {
            let mut pairs = given.iter().zip(accepted);
            given.len() == accepted.len() && pairs.all(|(given, accepted)| is_same(given, accepted))
        }
        _ => given == accepted,
    }
}

fn bytes<const MOST: usize>(given: &Base64<'_, MOST>, what: &str) -> Result<Value, Error> {
    let decoded = given.decode(what)?;
    assert!(decoded.len() <= MOST, "{} bytes of {what}", decoded.len());
    Ok(body::encode(&decoded).into())
}

fn aad<const MOST: usize>(given: Option<&Base64<'_, MOST>>) -> Result<Value, Error> {
    given.map_or(Ok(Value::Null), |aad| bytes(aad, "aad"))
}

pub fn session(input: &[u8]) -> Result<Value, Error> {
    let request: SessionRequest<'_> = body::read(input)?;
    Ok(json!({ "tenant": request.tenant }))
}

pub fn encrypt(input: &[u8]) -> Result<Value, Error> {
    let request: EncryptRequest<'_> = body::read(input)?;
    let plaintext = bytes(&request.plaintext, "plaintext")?;
    Ok(json!({ "plaintext": plaintext, "aad": aad(request.aad.as_ref())? }))
}

fn item(request: &DecryptRequest<'_>) -> Result<Value, Error> {
    let ciphertext = bytes(&request.ciphertext, "ciphertext")?;
    Ok(json!({ "ciphertext": ciphertext, "aad": aad(request.aad.as_ref())? }))
}

pub fn decrypt(input: &[u8]) -> Result<Value, Error> {
    item(&body::read(input)?)
}

pub fn data_key(input: &[u8]) -> Result<Value, Error> {
    let request: DataKeyRequest<'_> = body::read(input)?;
    Ok(json!({ "aad": aad(request.aad.as_ref())? }))
}

pub fn rewrap(input: &[u8]) -> Result<Value, Error> {
    let request: RewrapRequest<'_> = body::read(input)?;
    request.check()?;
    assert!((1..=MOST_ITEMS).contains(&request.items.len()));
    let one = |request: &DecryptRequest<'_>| {
        item(request).unwrap_or_else(|error| {
            refused(&error);
            Value::Null
        })
    };
    let items: Vec<Value> = request.items.iter().map(one).collect();
    Ok(json!({ "items": items }))
}
