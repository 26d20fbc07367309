//! A denial is only what is listed as one; everything else, however it looks, is not.

mod sentences;

use proptest::prelude::*;

use super::*;
use crate::api::Reason;
use crate::provider::answer::Answer;
use crate::provider::aws::said::Said;
use crate::provider::aws::subject::Who;
use crate::provider::aws::subject::tests::{KEY, account, role, subject};
use crate::provider::{Failure, Kind};

fn of_kms(status: u16, code: &str, message: &str) -> Failure {
    let said = Said::test(status, code, message);
    kms(Operation::Decrypt, &said, &subject(role()))
}

fn of_sts(who: Who, status: u16, code: &str, message: &str) -> Failure {
    sts(&Said::test(status, code, message), &subject(who))
}

fn is(failure: &Failure) -> (Kind, Reason) {
    (failure.kind, failure.reason)
}

/// Codes of KMS, the end of its sentence, and what it means.
const KMS: [(&str, &str, Kind, Reason); 18] = [
    (
        "AccessDeniedException",
        "",
        Kind::Denial,
        Reason::AccessDenied,
    ),
    ("DisabledException", "", Kind::Denial, Reason::KeyDisabled),
    ("NotFoundException", "", Kind::Denial, Reason::KeyNotFound),
    (
        "KMSInvalidStateException",
        " is pending deletion.",
        Kind::Denial,
        Reason::KeyUnusable,
    ),
    (
        "KMSInvalidStateException",
        " is pending replica deletion.",
        Kind::Denial,
        Reason::KeyUnusable,
    ),
    (
        "KMSInvalidStateException",
        " is pending import.",
        Kind::Denial,
        Reason::KeyUnusable,
    ),
    (
        "KMSInvalidStateException",
        " is unavailable.",
        Kind::Transient,
        Reason::ProviderError,
    ),
    (
        "KMSInvalidStateException",
        "",
        Kind::Transient,
        Reason::ProviderError,
    ),
    (
        "InvalidKeyUsageException",
        "",
        Kind::Misconfigured,
        Reason::KeyUnusable,
    ),
    (
        "InvalidSignatureException",
        "",
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        "UnrecognizedClientException",
        "",
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        "ExpiredTokenException",
        "",
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        "MissingAuthenticationTokenException",
        "",
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        "ThrottlingException",
        "",
        Kind::Transient,
        Reason::Throttled,
    ),
    (
        "InvalidCiphertextException",
        "",
        Kind::Transient,
        Reason::ProviderError,
    ),
    (
        "IncorrectKeyException",
        "",
        Kind::Transient,
        Reason::ProviderError,
    ),
    (
        "ValidationException",
        "",
        Kind::Transient,
        Reason::ProviderError,
    ),
    (
        "SomethingNewException",
        "",
        Kind::Transient,
        Reason::ProviderError,
    ),
];

#[test]
fn what_kms_says() {
    for (code, end, kind, reason) in KMS {
        let failure = of_kms(400, code, &format!("{KEY}{end}"));
        assert_eq!(is(&failure), (kind, reason), "{code}{end}");
        assert_eq!(failure.code.as_ref().expect("a code").as_str(), code);
        let command = [": aws ", ": kubectl ", ": curl ", ": tenant-kms "];
        assert!(
            command.iter().any(|tool| failure.message.contains(tool)),
            "{failure}"
        );
        assert!(
            !failure.message.contains(" is pending import."),
            "AWS's own words: {failure}"
        );
    }
    for code in [
        "KeyUnavailableException",
        "KMSInternalException",
        "DependencyTimeoutException",
    ] {
        let failure = of_kms(500, code, "");
        assert_eq!(
            is(&failure),
            (Kind::Transient, Reason::ProviderError),
            "{code}"
        );
    }
}

/// Codes of STS with a sentence; what they mean for a role, and for one of a `ServiceAccount`.
const STS: [(u16, &str, &str, Kind, Kind, Reason); 9] = [
    (
        403,
        "AccessDenied",
        "",
        Kind::Denial,
        Kind::Denial,
        Reason::AccessDenied,
    ),
    (
        400,
        "InvalidIdentityToken",
        "No OpenIDConnect provider found in your account for https://i.test",
        Kind::Denial,
        Kind::Denial,
        Reason::AccessDenied,
    ),
    (
        403,
        "InvalidClientTokenId",
        "",
        Kind::Misconfigured,
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        403,
        "ExpiredToken",
        "",
        Kind::Misconfigured,
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        400,
        "ExpiredTokenException",
        "",
        Kind::Misconfigured,
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        403,
        "SignatureDoesNotMatch",
        "Signature expired: 20260101T000000Z is now earlier than",
        Kind::Misconfigured,
        Kind::Misconfigured,
        Reason::CredentialRejected,
    ),
    (
        403,
        "RegionDisabledException",
        "",
        Kind::Misconfigured,
        Kind::Misconfigured,
        Reason::IdentityUnavailable,
    ),
    (
        400,
        "Throttling",
        "",
        Kind::Transient,
        Kind::Transient,
        Reason::Throttled,
    ),
    (
        400,
        "IDPCommunicationError",
        "",
        Kind::Transient,
        Kind::Transient,
        Reason::ProviderError,
    ),
];

#[test]
fn only_two_words_are_about_the_bytes() {
    for (code, end, ..) in KMS {
        let refused = matches!(code, "InvalidCiphertextException" | "IncorrectKeyException");
        assert_eq!(of_kms(400, code, end).bytes_refused, refused, "{code}");
        assert!(!of_kms(503, code, end).bytes_refused, "{code}");
    }
}

#[test]
fn what_sts_says() {
    for (status, code, message, of_role, of_account, reason) in STS {
        for (who, kind) in [(role(), of_role), (account(), of_account)] {
            let failure = of_sts(who, status, code, message);
            assert_eq!(is(&failure), (kind, reason), "{code}");
        }
    }
    let couldnt = "Couldn't retrieve verification key from your identity provider";
    for (message, means) in [
        (couldnt, (Kind::Misconfigured, Reason::CredentialRejected)),
        (
            "Incorrect token audience",
            (Kind::Denial, Reason::AccessDenied),
        ),
    ] {
        let failure = of_sts(account(), 400, "InvalidIdentityToken", message);
        assert_eq!(is(&failure), means, "{message}");
    }
}

#[test]
fn a_no_of_sts_and_one_of_kms_are_told_apart() {
    let of_sts = of_sts(role(), 403, "AccessDenied", "")
        .into_details()
        .message;
    let of_kms = of_kms(400, "AccessDeniedException", "")
        .into_details()
        .message;
    assert!(of_sts.starts_with("STS refuses role ") && of_sts.contains("aws iam update-assume"));
    assert!(of_sts.contains("external id tkms-0123"), "{of_sts}");
    assert!(of_kms.starts_with("KMS refuses Decrypt ") && of_kms.contains("aws kms create-grant"));
}

proptest! {
    #[test]
    fn no_other_code_is_a_denial(code in "[A-Za-z]{1,30}", status in 300u16..600, message in ".{0,40}") {
        prop_assume!(KMS.iter().all(|(known, ..)| *known != code));
        prop_assume!(STS.iter().all(|(_, known, ..)| *known != code));
        prop_assert_ne!(of_kms(status, &code, &message).kind, Kind::Denial);
        prop_assert_ne!(of_sts(role(), status, &code, &message).kind, Kind::Denial);
        prop_assert_ne!(of_sts(account(), status, &code, &message).kind, Kind::Denial);
    }

    #[test]
    fn nothing_without_a_code_is_a_denial(status in 300u16..600, message in ".{0,40}") {
        prop_assert_eq!(of_kms(status, "", &message).kind, Kind::Transient);
        prop_assert_eq!(of_sts(role(), status, "", &message).kind, Kind::Transient);
    }

    #[test]
    fn a_server_s_error_is_never_a_denial(index in 0usize..18, status in 500u16..600) {
        let (code, end, ..) = KMS[index];
        prop_assert_eq!(of_kms(status, code, end).kind, Kind::Transient);
        prop_assert_eq!(of_sts(role(), status, "AccessDenied", "").kind, Kind::Transient);
    }

    #[test]
    fn the_operator_s_own_identity_denies_nothing(status in 300u16..600, code in "[A-Za-z]{0,30}") {
        let said = Said::test(status, &code, "");
        let failure = own_web_identity(&said, "arn:aws:iam::1:role/own", &subject(Who::Own));
        prop_assert_ne!(failure.kind, Kind::Denial);
        let answer = Answer::from_parts(status, std::iter::empty(), b"AccessDenied");
        prop_assert_ne!(metadata(&answer).kind, Kind::Denial);
    }
}

#[test]
fn its_own_access_denied_is_no_denial() {
    let said = Said::test(403, "AccessDenied", "");
    let failure = own_web_identity(&said, "arn:aws:iam::1:role/own", &subject(Who::Own));
    assert_eq!(
        is(&failure),
        (Kind::Misconfigured, Reason::CredentialRejected)
    );
}
