//! A denial is only what is listed as one; everything else, however it looks, is not.

use proptest::prelude::*;

use super::*;
use crate::api::Reason;
use crate::provider::answer::Answer;
use crate::provider::azure::subject::tests::application;
use crate::provider::azure::subject::{Selector, Subject, Who};
use crate::provider::{Failure, Kind};

fn answer(status: u16, body: &str) -> Answer {
    let headers = [("x-ms-keyvault-region", "westeurope")];
    Answer::from_parts(status, headers.into_iter(), body.as_bytes())
}

fn forbidden(inner: &str) -> Failure {
    let body = format!(
        r#"{{"error":{{"code":"Forbidden","message":"m","innererror":{{"code":"{inner}"}}}}}}"#
    );
    vault(Operation::Wrap, &answer(403, &body), &application(), None)
}

const DENIALS: [(&str, Reason); 7] = [
    ("ForbiddenByRbac", Reason::AccessDenied),
    ("ForbiddenByPolicy", Reason::AccessDenied),
    ("AccessDenied", Reason::AccessDenied),
    ("KeyDisabled", Reason::KeyDisabled),
    ("KeyExpired", Reason::KeyExpired),
    ("KeyNotYetValid", Reason::KeyUnusable),
    ("KeyOperationForbidden", Reason::KeyUnusable),
];

/// The application is gone, without a principal or disabled; or trusts no such token.
const ENTRA_DENIALS: [u32; 9] = [
    700_016, 7_000_229, 7_000_112, 70_021, 70_025, 700_211, 700_212, 700_213, 7_002_138,
];

#[test]
fn the_listed_refusals_are_denials_with_a_command() {
    for (inner, reason) in DENIALS {
        let failure = forbidden(inner);
        assert_eq!(
            (failure.kind, failure.reason),
            (Kind::Denial, reason),
            "{inner}"
        );
        assert!(failure.message.contains(": az "), "{failure}");
        assert_eq!(failure.code.as_ref().expect("a code").as_str(), inner);
    }
}

#[test]
fn an_hsm_is_mended_by_its_own_commands() {
    let subject = Subject {
        hsm: true,
        ..application()
    };
    let body = r#"{"error":{"code":"Forbidden","message":"m"}}"#;
    let failure = vault(Operation::Unwrap, &answer(403, body), &subject, None);
    assert_eq!(failure.kind, Kind::Denial);
    assert!(
        failure
            .message
            .contains("az keyvault role assignment create --hsm-name 'acme-kv'")
    );
}

#[test]
fn the_number_of_a_rejected_token_is_the_code() {
    for (message, code) in [
        ("AKV10032: Invalid issuer.", "AKV10032"),
        ("[AKV10022] odd", "AKV10022"),
        ("AKV: none", "Unauthorized"),
        ("[TokenExpired] Error", "Unauthorized"),
    ] {
        let body = format!(r#"{{"error":{{"code":"Unauthorized","message":"{message}"}}}}"#);
        let failure = vault(Operation::Wrap, &answer(401, &body), &application(), None);
        assert_eq!(failure.code.as_ref().expect("a code").as_str(), code);
        assert_eq!(failure.reason, Reason::CredentialRejected);
    }
}

#[test]
fn a_bad_parameter_blames_the_key_at_wrap_only() {
    let body = r#"{"error":{"code":"BadParameter","message":"m"}}"#;
    let of = |operation| vault(operation, &answer(400, body), &application(), None);
    assert_eq!(of(Operation::Wrap).reason, Reason::KeyUnusable);
    assert_eq!(of(Operation::Wrap).kind, Kind::Misconfigured);
    assert_eq!(of(Operation::Unwrap).kind, Kind::Transient);
    assert!(of(Operation::Unwrap).bytes_refused);
    assert!(!of(Operation::Wrap).bytes_refused);
}

#[test]
fn an_outage_says_nothing_of_the_bytes() {
    for (status, code) in [
        (400, "SomethingNew"),
        (403, "ForbiddenByFirewall"),
        (429, "Throttled"),
        (500, "BadParameter"),
        (503, "ServiceUnavailable"),
    ] {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        let answer = answer(status, &body);
        let failure = vault(Operation::Unwrap, &answer, &application(), None);
        assert!(!failure.bytes_refused, "{status} {code}");
    }
    let page = answer(400, "<html>BadParameter</html>");
    assert!(!vault(Operation::Unwrap, &page, &application(), None).bytes_refused);
}

proptest! {
    #[test]
    fn no_other_403_is_a_denial(inner in "[A-Za-z]{1,24}") {
        prop_assume!(DENIALS.iter().all(|(known, _)| *known != inner));
        prop_assume!(inner != "Forbidden");
        prop_assert_eq!(forbidden(&inner).kind, Kind::Transient);
    }

    #[test]
    fn no_body_in_another_form_is_a_denial(status in 300u16..600, body in ".{0,80}") {
        let failure = vault(Operation::Wrap, &answer(status, &body), &application(), None);
        prop_assert_eq!(failure.kind, Kind::Transient);
        prop_assert_eq!(entra(&answer(status, &body), &application(), None).kind, Kind::Transient);
    }

    #[test]
    fn only_the_listed_numbers_of_entra_are_a_denial(number: u32, status in 300u16..600) {
        let body = format!(r#"{{"error":"e","error_codes":[{number}]}}"#);
        let failure = entra(&answer(status, &body), &application(), None);
        let listed = ENTRA_DENIALS.contains(&number);
        let refused = [400, 401, 403].contains(&status);
        prop_assert_eq!(failure.kind == Kind::Denial, listed && refused);
    }

    #[test]
    fn the_metadata_service_denies_nothing(status in 300u16..600, error in "[a-z_]{1,20}") {
        let own = Subject { who: Who::ManagedIdentity(Selector::SystemAssigned), ..application() };
        let failure = imds(&answer(status, &format!(r#"{{"error":"{error}"}}"#)), &own);
        prop_assert_ne!(failure.kind, Kind::Denial);
    }
}

#[test]
fn the_listed_numbers_of_entra_are_denials() {
    for number in ENTRA_DENIALS {
        let body = format!(r#"{{"error":"e","error_codes":[{number}]}}"#);
        assert_eq!(
            entra(&answer(400, &body), &application(), None).kind,
            Kind::Denial
        );
        assert_eq!(
            entra(&answer(500, &body), &application(), None).kind,
            Kind::Transient
        );
    }
}

/// The platform's own fault, in numbers that look much the same.
#[test]
fn a_credential_that_is_wrong_is_no_denial() {
    for number in [
        7_000_215, 7_000_222, 700_024, 700_027, 50_027, 50_166, 65_001, 90_002, 70_022, 700_210,
        700_214, 7_002_137, 7_002_139, 53_003,
    ] {
        let body = format!(r#"{{"error":"e","error_codes":[{number}]}}"#);
        let failure = entra(&answer(401, &body), &application(), None);
        assert_eq!(failure.kind, Kind::Misconfigured, "{number}");
    }
}
