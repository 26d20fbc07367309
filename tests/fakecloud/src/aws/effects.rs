//! Faults in AWS's own words, for the two protocols that its services speak.

use serde_json::json;

use crate::aws::sts_errors::error_xml;
use crate::crypto::uuid;
use crate::effects::Effect;

/// An error of KMS: `ThrottlingException`, `KeyUnavailableException`, `KMSInternalException`, …
pub fn kms(status: u16, kind: &str, message: &str) -> Effect {
    answer(
        status,
        json!({ "__type": kind, "message": message }).to_string(),
        uuid(),
    )
}

/// An error of STS: `Throttling`, `InternalFailure`, …
pub fn sts(status: u16, code: &str, message: &str) -> Effect {
    let id = uuid();
    let body = error_xml(status, code, message, &id);
    match answer(status, body, id) {
        Effect::Status {
            status,
            body,
            retry_after,
            mut headers,
        } => {
            headers.push(("content-type".to_owned(), "text/xml".to_owned()));
            Effect::Status {
                status,
                body,
                retry_after,
                headers,
            }
        }
        other => other,
    }
}

fn answer(status: u16, body: String, id: String) -> Effect {
    Effect::Status {
        status,
        body,
        retry_after: None,
        headers: vec![("x-amzn-requestid".to_owned(), id)],
    }
}
