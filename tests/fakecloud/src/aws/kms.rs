//! KMS: Encrypt, Decrypt and DescribeKey in the JSON 1.1 protocol. Every check of the real service that a client can
//! run into, in its order: the signature, the request's form, the key, permission, the key's state.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws::State;
use crate::aws::caller::Caller;
use crate::aws::key::KeyState;
use crate::aws::kms_errors::{self as errors, Refusal};
use crate::aws::region::{Place, account};
use crate::aws::sigv4::{self, Unsigned};
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

/// How far a client's clock may be off.
const LEEWAY_MINUTES: u64 = 5;
/// `Plaintext` of Encrypt with a symmetric key.
const MAX_PLAIN: usize = 4096;
const MAX_BLOB: usize = 6144;
const SYMMETRIC: &str = "SYMMETRIC_DEFAULT";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Encrypt,
    Decrypt,
    DescribeKey,
}

impl Operation {
    fn of(target: Option<&str>) -> Option<Self> {
        match target?.strip_prefix("TrentService.")? {
            "Encrypt" => Some(Self::Encrypt),
            "Decrypt" => Some(Self::Decrypt),
            "DescribeKey" => Some(Self::DescribeKey),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
            Self::DescribeKey => "DescribeKey",
        }
    }

    const fn seen(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::DescribeKey => "describe-key",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    key_id: Option<String>,
    plaintext: Option<String>,
    ciphertext_blob: Option<String>,
    #[serde(default)]
    encryption_context: HashMap<String, String>,
    encryption_algorithm: Option<String>,
}

pub(crate) fn prepare(world: &World, asked: &Asked, place: Place) -> (Seen, Service) {
    let operation = Operation::of(asked.header("x-amz-target"));
    let caller = sigv4::verify(&world.aws(), asked, &place, LEEWAY_MINUTES);
    let known = caller.as_ref().ok();
    let seen = Seen {
        operation: operation.map_or("other", Operation::seen).to_owned(),
        principal: known.map(|caller| caller.principal.clone()),
        tenant: known.map(|caller| caller.account().to_owned()),
        app: known.and_then(|caller| caller.session.clone()),
    };
    let service = move |world: &World, asked: &Asked| {
        let answer = answer(world, asked, &place, operation, caller);
        errors::finish(answer.unwrap_or_else(Refusal::answer))
    };
    (seen, Box::new(service))
}

fn answer(
    world: &World,
    asked: &Asked,
    place: &Place,
    operation: Option<Operation>,
    caller: Result<Caller, Unsigned>,
) -> Result<Answer, Refusal> {
    if asked.method != Method::POST || asked.path != "/" || asked.query.is_some() {
        return Err(errors::unknown_operation());
    }
    let operation = operation.ok_or_else(errors::unknown_operation)?;
    let caller = caller.map_err(errors::unsigned)?;
    if asked.media_type() != "application/x-amz-json-1.1" {
        return Err(errors::serialization());
    }
    let body: Body = serde_json::from_slice(&asked.body).map_err(|_| errors::serialization())?;
    let aws = world.aws();
    let said = match operation {
        Operation::Encrypt => encrypt(&aws, place, &caller, &body)?,
        Operation::Decrypt => decrypt(&aws, place, &caller, &body)?,
        Operation::DescribeKey => describe(&aws, place, &caller, &body)?,
    };
    Ok(Answer::new(
        200,
        "application/x-amz-json-1.1",
        said.to_string(),
    ))
}

fn encrypt(aws: &State, place: &Place, caller: &Caller, body: &Body) -> Result<Value, Refusal> {
    let plain = bytes(body.plaintext.as_ref(), "plaintext", MAX_PLAIN)?;
    let key = find(aws, place, caller, Operation::Encrypt, body)?;
    usable(key, Operation::Encrypt, body)?;
    let blob = key.wrap(&plain, &body.encryption_context);
    Ok(
        json!({ "KeyId": key.arn, "CiphertextBlob": STANDARD.encode(blob), "EncryptionAlgorithm": SYMMETRIC }),
    )
}

fn decrypt(aws: &State, place: &Place, caller: &Caller, body: &Body) -> Result<Value, Refusal> {
    let blob = bytes(body.ciphertext_blob.as_ref(), "ciphertextBlob", MAX_BLOB)?;
    // The blob says which key it is of; a KeyId in the request must name the same.
    let of = aws
        .keys
        .values()
        .find(|key| key.wrapped(&blob) && key.arn.split(':').nth(3) == Some(&place.region));
    let key = match (&body.key_id, of) {
        (Some(_), of) => {
            let named = find(aws, place, caller, Operation::Decrypt, body)?;
            usable(named, Operation::Decrypt, body)?;
            if of.is_some_and(|of| of.arn != named.arn) {
                return Err(errors::incorrect_key());
            }
            named
        }
        (None, Some(of)) => {
            permit(aws, caller, Operation::Decrypt, &of.arn, body)?;
            usable(of, Operation::Decrypt, body)?;
            of
        }
        (None, None) => return Err(errors::invalid_ciphertext()),
    };
    let plain = key
        .unwrap(&blob, &body.encryption_context)
        .ok_or_else(errors::invalid_ciphertext)?;
    Ok(
        json!({ "KeyId": key.arn, "Plaintext": STANDARD.encode(plain), "EncryptionAlgorithm": SYMMETRIC }),
    )
}

fn describe(aws: &State, place: &Place, caller: &Caller, body: &Body) -> Result<Value, Refusal> {
    let key = find(aws, place, caller, Operation::DescribeKey, body)?;
    let multi_region = key.options.multi_region;
    Ok(json!({ "KeyMetadata": {
        "AWSAccountId": account(&key.arn),
        "Arn": key.arn,
        "KeyId": key.arn.rsplit('/').next(),
        "KeyState": format!("{:?}", key.status),
        "Enabled": key.status == super::key::Status::Enabled,
        "KeyManager": "CUSTOMER",
        "KeySpec": key.options.spec,
        "KeyUsage": key.options.usage,
        "MultiRegion": multi_region,
        "Origin": "AWS_KMS",
    }}))
}

/// The key that `KeyId` names: an id, an alias, or the ARN of either; if the caller may use it.
fn find<'a>(
    aws: &'a State,
    place: &Place,
    caller: &Caller,
    operation: Operation,
    body: &Body,
) -> Result<&'a KeyState, Refusal> {
    let name = body.key_id.as_deref().unwrap_or_default();
    if name.is_empty() || name.len() > 2048 {
        return Err(errors::validation(
            "1 validation error detected: Value at 'keyId' failed to satisfy constraint: Member must not be null",
        ));
    }
    let arn = if name.starts_with("arn:") {
        let region = name.split(':').nth(3).unwrap_or_default();
        if region != place.region {
            return Err(errors::invalid_arn(region));
        }
        name.to_owned()
    } else {
        let kind = if name.starts_with("alias/") {
            ""
        } else {
            "key/"
        };
        let (partition, region, account) = (place.partition, &place.region, caller.account());
        format!("arn:{partition}:kms:{region}:{account}:{kind}{name}")
    };
    let own = account(&arn) == caller.account();
    let key = if arn.contains(":alias/") {
        match aws.aliases.get(&arn) {
            Some(key) => key.clone(),
            None if own => return Err(errors::no_alias(&arn)),
            None => arn,
        }
    } else {
        arn
    };
    if own && !aws.keys.contains_key(&key) {
        return Err(errors::no_key(&key));
    }
    permit(aws, caller, operation, &key, body)?;
    aws.keys.get(&key).ok_or_else(|| errors::no_key(&key))
}

fn permit(
    aws: &State,
    caller: &Caller,
    operation: Operation,
    key: &str,
    body: &Body,
) -> Result<(), Refusal> {
    let action = format!("kms:{}", operation.name());
    aws.key_allows(caller, &action, key, &body.encryption_context)
        .map_err(|why| errors::denied(caller, &action, key, why))
}

fn usable(key: &KeyState, operation: Operation, body: &Body) -> Result<(), Refusal> {
    let algorithm = body.encryption_algorithm.as_deref().unwrap_or(SYMMETRIC);
    if key.options.spec != algorithm || key.options.usage != "ENCRYPT_DECRYPT" {
        return Err(errors::wrong_usage(
            &key.arn,
            key.options.usage,
            operation.name(),
        ));
    }
    errors::unusable(&key.arn, key.status).map_or(Ok(()), Err)
}

fn bytes(text: Option<&String>, name: &str, most: usize) -> Result<Vec<u8>, Refusal> {
    let null = || {
        errors::validation(format!(
            "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    };
    let bytes = STANDARD
        .decode(text.ok_or_else(null)?)
        .map_err(|_| errors::serialization())?;
    if (1..=most).contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(errors::validation(format!(
        "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must have length less \
         than or equal to {most}"
    )))
}
