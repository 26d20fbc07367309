//! The OpenAPI document, made from the types that are served and kept in docs/openapi.json.

use std::sync::LazyLock;

use http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::body::{
    Ciphertext, DataKey, DataKeyRequest, DecryptRequest, EncryptRequest, Plaintext, RewrapAnswer,
    RewrapRequest, SessionAnswer, SessionRequest,
};
use super::error::{ErrorBody, Kind};
use super::{Answer, Operation, json_answer};

pub const PATH: &str = "/agent/v1/openapi.json";

/// What a call says of itself.
struct About {
    summary: &'static str,
    description: &'static str,
    /// Beside those that every call has.
    errors: &'static [Kind],
}

/// What any call may be answered with.
const COMMON: [Kind; 7] = [
    Kind::InvalidRequest,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::PayloadTooLarge,
    Kind::UnsupportedMediaType,
    Kind::RateLimited,
    Kind::Busy,
];
/// And any that needs the tenant's key.
const TENANT: [Kind; 6] = [
    Kind::TenantNotFound,
    Kind::TenantSealed,
    Kind::TenantSuspended,
    Kind::TenantPending,
    Kind::KmsUnavailable,
    Kind::ReviewsUnavailable,
];
const SESSION: [Kind; 2] = [Kind::SessionInvalid, Kind::SessionExpired];

fn about(operation: Operation) -> About {
    match operation {
        Operation::Session => About {
            summary: "Begin a session",
            description: "For the ServiceAccount and pod of the caller, and for one tenant. Needs \
                          `create` on `tenantkmses/session` for that tenant. Get the next one after \
                          `renew_after_seconds`.",
            errors: &[],
        },
        Operation::Encrypt => About {
            summary: "Encrypt",
            description: "With the tenant's active master key.",
            errors: &[],
        },
        Operation::Decrypt => About {
            summary: "Decrypt",
            description: "With the master key that the ciphertext names. A data key that is opened is \
                          kept no longer than `keep_until`, as when it was made.",
            errors: &[Kind::CiphertextInvalid, Kind::KeyErased],
        },
        Operation::DataKey => About {
            summary: "Make a data key",
            description: "32 random bytes to encrypt with in the workload itself, and the same \
                          encrypted. Needs `create` on `tenantkmses/datakey` too. Whoever keeps the \
                          plaintext beyond `keep_until` uses the tenant's data after it is sealed.",
            errors: &[],
        },
        Operation::Rewrap => About {
            summary: "Encrypt again with the active master key",
            description: "For 1 to 100 ciphertexts, whose plaintext stays here. What is wrong with one \
                          is told in its place, with one of the types `invalid_request`, \
                          `ciphertext_invalid`, `key_erased` and `payload_too_large`.",
            errors: &[],
        },
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn bodies(operation: Operation, generator: &mut SchemaGenerator) -> (Value, Value) {
    match operation {
        Operation::Session => (
            schema::<SessionRequest<'_>>(generator),
            schema::<SessionAnswer>(generator),
        ),
        Operation::Encrypt => (
            schema::<EncryptRequest<'_>>(generator),
            schema::<Ciphertext>(generator),
        ),
        Operation::Decrypt => (
            schema::<DecryptRequest<'_>>(generator),
            schema::<Plaintext>(generator),
        ),
        Operation::DataKey => (
            schema::<DataKeyRequest<'_>>(generator),
            schema::<DataKey>(generator),
        ),
        Operation::Rewrap => (
            schema::<RewrapRequest<'_>>(generator),
            schema::<RewrapAnswer>(generator),
        ),
    }
}

/// The types of error a call may be answered with, in the order of their status.
pub fn errors(operation: Operation) -> Vec<Kind> {
    let session: &[Kind] = match operation {
        Operation::Session => &[],
        _ => &SESSION,
    };
    let own = about(operation).errors;
    let mut all: Vec<Kind> = [&COMMON, &TENANT[..], session, own].concat();
    all.sort_by_key(|kind| kind.status());
    all
}

fn responses(operation: Operation, answer: &Value) -> Value {
    let mut responses = Map::new();
    let json_of = |schema: &Value| json!({ "application/json": { "schema": schema } });
    let mut ok = json!({ "description": "Done.", "content": json_of(answer) });
    if let Some(links) = links(operation) {
        ok["links"] = links;
    }
    responses.insert("200".to_owned(), ok);
    let error = json!({ "$ref": "#/components/schemas/ErrorBody" });
    for kind in errors(operation) {
        let status = kind.status();
        let response = responses
            .entry(status.as_str())
            .or_insert_with(|| json!({ "description": "", TYPES: [], "content": json_of(&error) }));
        let before = response["description"].as_str().unwrap_or_default();
        let comma = if before.is_empty() { "" } else { ", " };
        response["description"] = format!("{before}{comma}`{}`", kind.name()).into();
        if let Some(types) = response[TYPES].as_array_mut() {
            types.push(kind.name().into());
        }
        if let Some(headers) = headers(status) {
            response["headers"] = headers;
        }
    }
    Value::Object(responses)
}

/// The types of error that come with a status, for programs.
const TYPES: &str = "x-error-types";

fn headers(status: StatusCode) -> Option<Value> {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(json!({
            "Retry-After": {
                "description": "Seconds after which it may work.",
                "required": status == StatusCode::TOO_MANY_REQUESTS,
                "schema": { "type": "integer", "minimum": 1 },
            },
        })),
        StatusCode::UNAUTHORIZED => Some(json!({
            "WWW-Authenticate": {
                "description": "With `unauthenticated`: a session is no credential of its own.",
                "schema": { "type": "string", "const": "Bearer" },
            },
        })),
        _ => None,
    }
}

/// What one call gives and another takes.
fn links(operation: Operation) -> Option<Value> {
    let ciphertext = "$response.body#/ciphertext";
    let decrypt = |aad: &str| json!({ "ciphertext": ciphertext, "aad": aad });
    let aad = "$request.body#/aad";
    match operation {
        Operation::Encrypt | Operation::DataKey => Some(json!({
            "decrypt": {
                "operationId": Operation::Decrypt.name(),
                "requestBody": decrypt(aad),
            },
            "rewrap": {
                "operationId": Operation::Rewrap.name(),
                "requestBody": { "items": [decrypt(aad)] },
            },
        })),
        _ => None,
    }
}

/// The whole document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    generator.subschema_for::<ErrorBody>();
    for operation in Operation::ALL {
        let About {
            summary,
            description,
            ..
        } = about(operation);
        let (request, answer) = bodies(operation, &mut generator);
        let mut security = json!({ "serviceAccount": [] });
        if operation != Operation::Session {
            security["session"] = json!([]);
        }
        let post = json!({
            "operationId": operation.name(),
            "summary": summary,
            "description": description,
            "security": [security],
            "requestBody": {
                "required": true,
                "content": { "application/json": { "schema": request } },
            },
            "responses": responses(operation, &answer),
        });
        paths.insert(operation.path().to_owned(), json!({ "post": post }));
    }
    let document = json!({ "operationId": "openapi", "summary": "This document", "security": [],
        "responses": { "200": { "description": "OpenAPI 3.1.",
            "content": { "application/json": { "schema": { "type": "object" } } } } } });
    paths.insert(PATH.to_owned(), json!({ "get": document }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tenant-kms agent API",
            "version": "v1",
            "description": "Sessions for workloads, and the use of a tenant's master keys with them \
                            while the customer agrees. Every replica of the operator serves it.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "serviceAccount": { "type": "http", "scheme": "bearer",
                    "description": "A ServiceAccount token of audience tenantkms.dev, as a projected \
                                    volume gives it." },
                "session": { "type": "apiKey", "in": "header", "name": "X-Session-Token",
                    "description": "What POST /agent/v1/session gave." },
            },
        },
    })
}

/// The document as it is kept in docs/.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Written once, for it is asked for without credentials.
pub fn serve() -> Answer {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    json_answer(StatusCode::OK, TEXT.as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_document_in_docs_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let written = fs::read_to_string(path).unwrap_or_default();
        assert!(written == text(), "run `cargo xtask docs`");
    }
}
