//! A denial is only what is listed as one; everything else, however it looks, is not.

mod grants;
mod properties;

use serde_json::{Value, json};

use super::*;
use crate::api::Reason;
use crate::provider::answer::{Answer, Trouble};
use crate::provider::gcp::keyref::tests::KEY;
use crate::provider::gcp::subject::tests::{federated, machine, subject};
use crate::provider::gcp::subject::{Base, Subject};
use crate::provider::{Failure, Kind};

const EMAIL: &str = "kms@acme-prod.iam.gserviceaccount.com";
const INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const PRECONDITION: &str = "type.googleapis.com/google.rpc.PreconditionFailure";

fn answer(status: u16, body: &str) -> Answer {
    Answer::from_parts(status, std::iter::empty(), body.as_bytes())
}

fn error(status: u16, word: &str, message: &str, details: &Value) -> Answer {
    let error = json!({ "code": status, "status": word, "message": message, "details": details });
    answer(status, &json!({ "error": error }).to_string())
}

fn info(status: u16, word: &str, reason: &str) -> Answer {
    let details = json!([{ "@type": INFO, "reason": reason, "domain": "googleapis.com",
        "metadata": { "consumer": "projects/123456789012" } }]);
    error(status, word, "m", &details)
}

fn state(kind: &str, version: &str) -> Answer {
    let violation = json!({ "type": kind, "subject": version });
    let details = json!([{ "@type": PRECONDITION, "violations": [violation] }]);
    error(400, "FAILED_PRECONDITION", "m", &details)
}

fn impersonating() -> Subject {
    subject(Base::Machine, Some(EMAIL))
}

fn both(answer: &Answer, subject: &Subject) -> [Failure; 2] {
    [Operation::Encrypt, Operation::Decrypt].map(|one| kms(one, answer, subject, None))
}

#[track_caller]
fn is(failure: &Failure, kind: Kind, reason: Reason, text: &str) {
    assert_eq!((failure.kind, failure.reason), (kind, reason), "{failure}");
    assert!(failure.message.contains(text), "{failure}");
}

#[test]
fn a_role_that_is_taken_is_a_denial_in_the_new_form_and_in_the_old() {
    let denied = info(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED");
    let text = "Permission 'cloudkms.cryptoKeyVersions.useToEncrypt' denied on resource 'x' (or it may \
                not exist).";
    let old = error(403, "PERMISSION_DENIED", text, &json!([]));
    for answer in [denied, old] {
        for failure in both(&answer, &machine()) {
            is(
                &failure,
                Kind::Denial,
                Reason::AccessDenied,
                "gcloud kms keys add-iam-policy-binding 'acme'",
            );
        }
        let failure = iam(&answer, &impersonating(), None);
        is(
            &failure,
            Kind::Denial,
            Reason::AccessDenied,
            "gcloud iam service-accounts add-iam-policy-binding",
        );
    }
}

#[test]
fn the_state_of_a_version_is_a_denial_only_when_something_was_taken() {
    let version = format!("{KEY}/cryptoKeyVersions/3");
    for (kind, reason, command) in [
        (
            "KEY_DISABLED",
            Reason::KeyDisabled,
            "gcloud kms keys versions enable '3' --key 'acme'",
        ),
        (
            "KEY_DESTROY_SCHEDULED",
            Reason::KeyNotFound,
            "gcloud kms keys versions restore '3'",
        ),
        (
            "KEY_DESTROYED",
            Reason::KeyNotFound,
            "gcloud kms keys describe 'acme'",
        ),
    ] {
        for failure in both(&state(kind, &version), &machine()) {
            is(&failure, Kind::Denial, reason, command);
            assert_eq!(failure.code.as_ref().expect("a code").as_str(), kind);
        }
    }
    for kind in [
        "KEY_PENDING_IMPORT",
        "KEY_PENDING_GENERATION",
        "KEY_NEW_STATE",
    ] {
        let [encrypt, decrypt] = both(&state(kind, &version), &machine());
        is(
            &encrypt,
            Kind::Misconfigured,
            Reason::KeyUnusable,
            "ENCRYPT_DECRYPT",
        );
        is(
            &decrypt,
            Kind::Transient,
            Reason::ProviderError,
            "nothing is concluded",
        );
    }
    for other in [
        format!("{KEY}2/cryptoKeyVersions/3"),
        KEY.to_owned(),
        String::new(),
    ] {
        for failure in both(&state("KEY_DISABLED", &other), &machine()) {
            assert_ne!(failure.kind, Kind::Denial, "{other}");
        }
    }
}

#[test]
fn a_key_that_is_not_there() {
    let absent = error(404, "NOT_FOUND", "CryptoKey x not found.", &json!([]));
    for failure in both(&absent, &machine()) {
        is(
            &failure,
            Kind::Denial,
            Reason::KeyNotFound,
            "gcloud kms keys describe 'acme'",
        );
    }
    for failure in both(&answer(404, "<title>Error 404</title>"), &machine()) {
        is(
            &failure,
            Kind::Transient,
            Reason::ProviderError,
            "nothing is concluded",
        );
    }
    is(
        &iam(&absent, &impersonating(), None),
        Kind::Denial,
        Reason::AccessDenied,
        "gcloud iam service-accounts describe",
    );
}

#[test]
fn the_customers_account_is_the_customers_and_the_platforms_is_not() {
    let gone = info(401, "UNAUTHENTICATED", "ACCOUNT_STATE_INVALID");
    for failure in both(&gone, &impersonating()) {
        is(
            &failure,
            Kind::Denial,
            Reason::AccessDenied,
            "gcloud iam service-accounts enable",
        );
    }
    for failure in both(&gone, &machine()) {
        is(
            &failure,
            Kind::Misconfigured,
            Reason::CredentialRejected,
            "gcloud iam",
        );
    }
    let failure = iam(&gone, &impersonating(), None);
    is(
        &failure,
        Kind::Misconfigured,
        Reason::CredentialRejected,
        "gcloud iam",
    );
    let expired = info(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED");
    for failure in both(&expired, &impersonating()) {
        is(
            &failure,
            Kind::Misconfigured,
            Reason::CredentialRejected,
            "clock",
        );
    }
}

#[test]
fn what_is_about_the_billed_project_is_no_denial() {
    let rows = [
        (
            "SERVICE_DISABLED",
            Kind::Misconfigured,
            Reason::CredentialRejected,
            "gcloud services enable",
        ),
        (
            "USER_PROJECT_DENIED",
            Kind::Misconfigured,
            Reason::CredentialRejected,
            "serviceUsageConsumer",
        ),
        (
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            Kind::Misconfigured,
            Reason::CredentialRejected,
            "scope",
        ),
        (
            "SECURITY_POLICY_VIOLATED",
            Kind::Transient,
            Reason::Unreachable,
            "perimeter",
        ),
        (
            "BILLING_DISABLED",
            Kind::Transient,
            Reason::ProviderError,
            "gcloud billing projects describe '123456789012'",
        ),
        (
            "CONSUMER_SUSPENDED",
            Kind::Transient,
            Reason::ProviderError,
            "billed to project 123456789012",
        ),
        (
            "CONSUMER_INVALID",
            Kind::Transient,
            Reason::ProviderError,
            "gcloud projects describe '123456789012'",
        ),
    ];
    for (reason, kind, expected, text) in rows {
        let answer = info(403, "PERMISSION_DENIED", reason);
        for failure in both(&answer, &machine()) {
            is(&failure, kind, expected, text);
        }
        is(&iam(&answer, &impersonating(), None), kind, expected, text);
    }
    let [failure, _] = both(
        &info(403, "PERMISSION_DENIED", "SERVICE_DISABLED"),
        &machine(),
    );
    let command = "gcloud services enable 'cloudkms.googleapis.com' --project '123456789012'";
    assert!(failure.message.contains(command), "{failure}");
}

#[test]
fn requests_that_are_refused_blame_the_right_side() {
    let crc = "The checksum in field plaintext_crc32c did not match the data in field plaintext.";
    for failure in both(&error(400, "INVALID_ARGUMENT", crc, &json!([])), &machine()) {
        is(&failure, Kind::Transient, Reason::ProviderError, "CRC32C");
        assert!(!failure.bytes_refused);
    }
    let [encrypt, decrypt] = both(&error(400, "INVALID_ARGUMENT", "m", &json!([])), &machine());
    is(
        &encrypt,
        Kind::Misconfigured,
        Reason::KeyUnusable,
        "ENCRYPT_DECRYPT",
    );
    is(
        &decrypt,
        Kind::Transient,
        Reason::ProviderError,
        "cannot decrypt what is stored",
    );
    assert!(decrypt.bytes_refused && !encrypt.bytes_refused);
    let [encrypt, decrypt] = both(
        &error(400, "FAILED_PRECONDITION", "m", &json!([])),
        &machine(),
    );
    is(
        &encrypt,
        Kind::Misconfigured,
        Reason::KeyUnusable,
        "purpose",
    );
    is(
        &decrypt,
        Kind::Transient,
        Reason::ProviderError,
        "nothing is concluded",
    );
}

#[test]
fn throttling_and_outages() {
    for (status, word, reason) in [
        (429, "RESOURCE_EXHAUSTED", Reason::Throttled),
        (500, "INTERNAL", Reason::ProviderError),
        (503, "UNAVAILABLE", Reason::ProviderError),
        (504, "DEADLINE_EXCEEDED", Reason::ProviderError),
    ] {
        let answer = error(status, word, "m", &json!([]));
        for failure in both(&answer, &machine()) {
            is(&failure, Kind::Transient, reason, "cloudkms.googleapis.com");
            assert!(!failure.bytes_refused, "an outage accuses no record");
        }
        let failure = iam(&answer, &impersonating(), None);
        is(
            &failure,
            Kind::Transient,
            reason,
            "iamcredentials.googleapis.com",
        );
        let failure = sts(&answer, &federated(None), "https://i.test");
        is(&failure, Kind::Transient, reason, "sts.googleapis.com");
    }
}

#[test]
fn sts_says_no_with_two_words_only() {
    let of = |status: u16, word: &str| {
        let body = json!({ "error": word, "error_description": "hunter2" }).to_string();
        sts(&answer(status, &body), &federated(None), "https://i.test")
    };
    is(
        &of(400, "invalid_target"),
        Kind::Denial,
        Reason::AccessDenied,
        "update-oidc 'platform'",
    );
    for verb in ["describe", "update", "undelete"] {
        let failure = of(400, "invalid_target");
        let command = format!("gcloud iam workload-identity-pools {verb} 'tenants'");
        assert!(failure.message.contains(&command), "{failure}");
    }
    is(
        &of(401, "unauthorized_client"),
        Kind::Denial,
        Reason::AccessDenied,
        "attributeCondition",
    );
    is(
        &of(400, "invalid_grant"),
        Kind::Misconfigured,
        Reason::CredentialRejected,
        "https://i.test",
    );
    is(
        &of(400, "invalid_request"),
        Kind::Misconfigured,
        Reason::CredentialRejected,
        "describe 'platform'",
    );
    is(
        &of(500, "invalid_target"),
        Kind::Transient,
        Reason::ProviderError,
        "nothing is concluded",
    );
    assert!(!of(400, "invalid_grant").message.contains("hunter2"));
}

#[test]
fn no_answer_is_no_denial_and_says_who_was_asked() {
    for (service, text) in [
        (Service::Kms, "cloudkms.googleapis.com"),
        (Service::Sts, "sts.googleapis.com"),
        (Service::Iam, "iamcredentials.googleapis.com"),
        (Service::Metadata, "metadata server"),
    ] {
        for one in [
            Trouble::Refused,
            Trouble::Certificate,
            Trouble::TooLarge,
            Trouble::Broken,
        ] {
            let failure = trouble(one, service);
            assert_eq!(failure.kind, Kind::Transient);
            assert!(failure.message.contains(text), "{failure}");
        }
        assert!(silent(service).message.contains("no answer in time"));
    }
}
