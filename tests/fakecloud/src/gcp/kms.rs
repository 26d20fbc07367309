//! Cloud KMS by REST: encrypt, decrypt, and the state of keys and versions. Every check of the real service that a
//! client can run into, in its order: path, caller, service, role, existence, purpose, state, checksums.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::gcp::errors::{self, Refusal, finish, no_such_path};
use crate::gcp::key::{KeyState, Version, VersionState};
use crate::gcp::names::KeyName;
use crate::gcp::token::bearer;
use crate::gcp::{KMS_HOST, crypt, iam};
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

const LARGEST: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Encrypt,
    Decrypt,
    Get,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Get => "getCryptoKey",
        }
    }

    const fn permission(self, version: bool) -> &'static str {
        match self {
            Self::Encrypt => iam::ENCRYPT,
            Self::Decrypt => iam::DECRYPT,
            Self::Get if version => iam::GET_VERSION,
            Self::Get => iam::GET_KEY,
        }
    }
}

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    let target = target(asked);
    let caller = bearer(asked).and_then(|token| {
        world.calls.secret(token);
        world.gcp().tokens.get(token).cloned()
    });
    let seen = Seen {
        operation: target
            .as_ref()
            .map_or("other", |(verb, _)| verb.name())
            .to_owned(),
        principal: caller.map(|holder| holder.member),
        tenant: target.as_ref().map(|(_, name)| name.key.clone()),
        app: None,
    };
    let service = move |world: &World, asked: &Asked| match target {
        Some((verb, name)) => {
            answer(world, asked, verb, &name).unwrap_or_else(|refusal| refusal.answer())
        }
        None => no_such_path(),
    };
    (seen, Box::new(service))
}

fn target(asked: &Asked) -> Option<(Verb, KeyName)> {
    let path = asked.path.strip_prefix("/v1/")?;
    let (verb, name) = match (&asked.method, path.rsplit_once(':')) {
        (&Method::POST, Some((name, "encrypt"))) => (Verb::Encrypt, name),
        (&Method::POST, Some((name, "decrypt"))) => (Verb::Decrypt, name),
        (&Method::GET, _) => (Verb::Get, path),
        _ => return None,
    };
    Some((verb, KeyName::parse(name)?))
}

fn answer(world: &World, asked: &Asked, verb: Verb, name: &KeyName) -> Result<Answer, Refusal> {
    let key = {
        let gcp = world.gcp();
        let caller = gcp.caller(asked, KMS_HOST)?;
        gcp.admitted(asked, KMS_HOST, caller)?;
        let permission = verb.permission(name.version.is_some());
        if !gcp.allowed(&caller.member, &name.key, permission) {
            return Err(errors::denied(permission, KMS_HOST, Some(&name.full())));
        }
        let key = gcp.keys.get(&name.key).cloned();
        key.ok_or_else(|| errors::not_found("CryptoKey", &name.key))?
    };
    if let Some(number) = name.version
        && !key.versions.contains_key(&number)
    {
        return Err(errors::not_found("CryptoKeyVersion", &name.full()));
    }
    let numbers = asked
        .query
        .as_deref()
        .is_some_and(|query| query.contains("enum-encoding"));
    let said = match verb {
        Verb::Encrypt => encrypt(asked, name, &key)?,
        Verb::Decrypt => decrypt(asked, name, &key)?,
        Verb::Get => match name.version {
            Some(number) => describe_version(name, number, &key.versions[&number], numbers),
            None => describe_key(name, &key, numbers),
        },
    };
    Ok(finish(Answer::json(200, &said)))
}

fn encrypt(asked: &Asked, name: &KeyName, key: &KeyState) -> Result<Value, Refusal> {
    purpose(name, key)?;
    let number = name.version.or(key.primary).ok_or_else(|| {
        errors::precondition(format!("CryptoKey {} has no primary version.", name.key))
    })?;
    let version = usable(name, key, number)?;
    let body = Body::read(
        asked,
        &[
            "plaintext",
            "additionalAuthenticatedData",
            "plaintextCrc32c",
            "additionalAuthenticatedDataCrc32c",
        ],
    )?;
    let plaintext = body.bytes("plaintext")?;
    let aad = body.bytes("additionalAuthenticatedData")?;
    let plaintext_verified = body.checked("plaintext", &plaintext)?;
    let aad_verified = body.checked("additionalAuthenticatedData", &aad)?;
    if plaintext.len() > LARGEST || aad.len() > LARGEST {
        return Err(errors::invalid(
            "The plaintext or the additional authenticated data is larger than 64 KiB.",
        ));
    }
    let ciphertext = crypt::seal(key, number, version, &plaintext, &aad);
    let mut said = json!({
        "name": version_name(name, number),
        "ciphertext": STANDARD.encode(&ciphertext),
        "ciphertextCrc32c": crypt::crc32c(&ciphertext).to_string(),
        "protectionLevel": "SOFTWARE",
    });
    // A false is the default value, and default values are left out.
    if plaintext_verified {
        said["verifiedPlaintextCrc32c"] = true.into();
    }
    if aad_verified {
        said["verifiedAdditionalAuthenticatedDataCrc32c"] = true.into();
    }
    Ok(said)
}

fn decrypt(asked: &Asked, name: &KeyName, key: &KeyState) -> Result<Value, Refusal> {
    if name.version.is_some() {
        return Err(errors::invalid(
            "The resource name must be a CryptoKey and not a CryptoKeyVersion.",
        ));
    }
    purpose(name, key)?;
    let body = Body::read(
        asked,
        &[
            "ciphertext",
            "additionalAuthenticatedData",
            "ciphertextCrc32c",
            "additionalAuthenticatedDataCrc32c",
        ],
    )?;
    let ciphertext = body.bytes("ciphertext")?;
    let aad = body.bytes("additionalAuthenticatedData")?;
    body.checked("ciphertext", &ciphertext)?;
    body.checked("additionalAuthenticatedData", &aad)?;
    let number = crypt::version_of(key, &ciphertext)
        .filter(|number| key.versions.contains_key(number))
        .ok_or_else(|| {
            errors::invalid(
                "Decryption failed: verify that 'name' refers to the correct CryptoKey.",
            )
        })?;
    let version = usable(name, key, number)?;
    let plaintext = crypt::open(key, version, &ciphertext, &aad)
        .ok_or_else(|| errors::invalid("Decryption failed: the ciphertext is invalid."))?;
    let mut said = json!({
        "plaintext": STANDARD.encode(&plaintext),
        "plaintextCrc32c": crypt::crc32c(&plaintext).to_string(),
        "protectionLevel": "SOFTWARE",
    });
    if key.primary == Some(number) {
        said["usedPrimary"] = true.into();
    }
    Ok(said)
}

fn purpose(name: &KeyName, key: &KeyState) -> Result<(), Refusal> {
    if key.purpose == "ENCRYPT_DECRYPT" {
        return Ok(());
    }
    Err(errors::precondition(format!(
        "CryptoKey {} has purpose {}, which does not support this operation.",
        name.key, key.purpose
    )))
}

fn usable<'a>(name: &KeyName, key: &'a KeyState, number: u32) -> Result<&'a Version, Refusal> {
    let version = &key.versions[&number];
    if version.state == VersionState::Enabled {
        return Ok(version);
    }
    let state = version.state.name();
    let full = version_name(name, number);
    Err(errors::not_enabled(&full, state, &format!("KEY_{state}")))
}

fn version_name(name: &KeyName, number: u32) -> String {
    format!("{}/cryptoKeyVersions/{number}", name.key)
}

fn date(seconds: u64) -> String {
    Timestamp::from_second(seconds.cast_signed())
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

fn describe_key(name: &KeyName, key: &KeyState, numbers: bool) -> Value {
    let purpose: Value = match key.purpose.as_str() {
        "ENCRYPT_DECRYPT" if numbers => 1.into(),
        "ASYMMETRIC_SIGN" if numbers => 5.into(),
        "ASYMMETRIC_DECRYPT" if numbers => 6.into(),
        purpose => purpose.into(),
    };
    let mut said = json!({
        "name": name.key,
        "purpose": purpose,
        "createTime": date(key.created),
        "destroyScheduledDuration": "2592000s",
    });
    if let Some(primary) = key.primary {
        said["primary"] = describe_version(name, primary, &key.versions[&primary], numbers);
    }
    said
}

fn describe_version(name: &KeyName, number: u32, version: &Version, numbers: bool) -> Value {
    let either =
        |number: u32, word: &str| -> Value { if numbers { number.into() } else { word.into() } };
    json!({
        "name": version_name(name, number),
        "state": either(version.state.number(), version.state.name()),
        "createTime": date(version.created),
        "protectionLevel": either(1, "SOFTWARE"),
        "algorithm": either(1, "GOOGLE_SYMMETRIC_ENCRYPTION"),
    })
}

/// A request in the JSON form of protocol buffers.
struct Body(Map<String, Value>);

impl Body {
    fn read(asked: &Asked, known: &[&str]) -> Result<Self, Refusal> {
        let mut body = serde_json::from_slice::<Map<String, Value>>(&asked.body)
            .map_err(|_| errors::invalid("Invalid JSON payload received. Unexpected token."))?;
        // A null is an absent field in the JSON of protocol buffers.
        body.retain(|_, value| !value.is_null());
        match body.keys().find(|name| !known.contains(&name.as_str())) {
            Some(odd) => Err(errors::invalid(format!(
                "Invalid JSON payload received. Unknown name \"{odd}\": Cannot find field."
            ))),
            None => Ok(Self(body)),
        }
    }

    /// Base64 in either alphabet; absent is empty.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        let bad = || {
            errors::invalid(format!(
                "Invalid value at '{name}' (TYPE_BYTES), Base64 decoding failed."
            ))
        };
        let Some(value) = self.0.get(name) else {
            return Ok(Vec::new());
        };
        let text = value.as_str().ok_or_else(bad)?;
        let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
        decoded.map_err(|_| bad())
    }

    /// Whether the caller sent a checksum of that field; one that does not fit is refused.
    fn checked(&self, name: &str, bytes: &[u8]) -> Result<bool, Refusal> {
        let field = format!("{name}Crc32c");
        let Some(value) = self.0.get(&field) else {
            return Ok(false);
        };
        let sent = match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_i64(),
        };
        let sent = sent.ok_or_else(|| errors::invalid(format!("Invalid value at '{field}'.")))?;
        if sent == i64::from(crypt::crc32c(bytes)) {
            return Ok(true);
        }
        let snake = match name {
            "additionalAuthenticatedData" => "additional_authenticated_data",
            name => name,
        };
        Err(errors::invalid(format!(
            "The checksum in field {snake}_crc32c did not match the data in field {snake}."
        )))
    }
}
