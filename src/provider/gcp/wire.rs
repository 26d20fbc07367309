//! Google's JSON, as far as it is read: tokens, results, and errors in the form of google.aip.dev/193.
//! Nothing here is believed before it was checked against what was asked.

use serde::Deserialize;
use serde_json::Value;

use crate::provider::answer::Answer;

/// What the metadata server and STS give.
#[derive(Deserialize)]
pub struct OauthToken {
    pub access_token: String,
    pub expires_in: u64,
}

/// What `generateAccessToken` gives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedToken {
    pub access_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encrypted {
    /// The version that was used.
    pub name: String,
    pub ciphertext: String,
    #[serde(default)]
    pub ciphertext_crc32c: Value,
    #[serde(default)]
    pub verified_plaintext_crc32c: bool,
    #[serde(default)]
    pub verified_additional_authenticated_data_crc32c: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decrypted {
    pub plaintext: String,
    #[serde(default)]
    pub plaintext_crc32c: Value,
}

/// An error of a Google API.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiError {
    /// For instance `PERMISSION_DENIED`.
    pub status: String,
    pub message: String,
    /// `ErrorInfo.reason`, for instance `IAM_PERMISSION_DENIED`.
    pub reason: Option<String>,
    /// `ErrorInfo.metadata.permission`, for instance `cloudkms.cryptoKeyVersions.useToEncrypt`.
    pub permission: Option<String>,
    /// `ErrorInfo.metadata.consumer`: the project that is billed.
    pub consumer: Option<String>,
    /// `PreconditionFailure`: type and subject.
    pub violations: Vec<(String, String)>,
    /// Whether it had any detail at all.
    pub detailed: bool,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: u16,
    status: String,
    message: String,
    #[serde(default)]
    details: Vec<Value>,
}

impl ApiError {
    /// `None` when it is not in the API's form, and so perhaps not the API's.
    pub fn of(answer: &Answer) -> Option<Self> {
        let ErrorBody { error } = serde_json::from_slice(answer.body()).ok()?;
        if error.code != answer.status {
            return None;
        }
        let of_type = |name: &'static str| {
            let full = format!("type.googleapis.com/google.rpc.{name}");
            error
                .details
                .iter()
                .filter(move |detail| detail.get("@type") == Some(&Value::from(full.as_str())))
        };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let info = of_type("ErrorInfo").next();
        let metadata = |name: &str| text(info?.get("metadata")?.get(name));
        let violations = of_type("PreconditionFailure")
            .filter_map(|detail| detail.get("violations")?.as_array())
            .flatten()
            .filter_map(|one| Some((text(one.get("type"))?, text(one.get("subject"))?)))
            .collect();
        Some(Self {
            reason: info.and_then(|info| text(info.get("reason"))),
            permission: metadata("permission"),
            consumer: metadata("consumer"),
            violations,
            detailed: !error.details.is_empty(),
            status: error.status,
            message: error.message,
        })
    }
}

/// An error of STS, in the form of RFC 6749.
#[derive(Deserialize)]
pub struct OauthError {
    pub error: String,
}
