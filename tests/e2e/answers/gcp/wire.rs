//! What travels to and from Google: checked at both ends, bounded, and never taken for a no.

use fakecloud::{Effect, KMS_HOST, METADATA_HOST};
use serde_json::json;

use super::super::{Customer, row};
use super::{KEY, fault, own, run};

#[tokio::test(flavor = "multi_thread")]
async fn what_travels_is_checked_at_both_ends() {
    let changed = ("Transient", "ProviderError", "CRC32C");
    let on = |operation: &'static str, effect: Effect| {
        move |c: &mut Customer| fault(c, KMS_HOST, operation, effect.clone())
    };
    let corrupt = |field: &str| Effect::CorruptRequest(field.to_owned());
    let merge = Effect::Merge;
    run(vec![
        row(
            "the plaintext on its way there",
            changed,
            on("encrypt", corrupt("plaintext")),
        ),
        row(
            "the tenant's binding on its way there",
            changed,
            on("encrypt", corrupt("additionalAuthenticatedData")),
        ),
        row(
            "the ciphertext on its way there",
            changed,
            on("decrypt", corrupt("ciphertext")),
        ),
        row(
            "the ciphertext on its way back",
            changed,
            on("encrypt", merge(json!({ "ciphertext": "AAAA" }))),
        ),
        row(
            "the plaintext on its way back",
            changed,
            on("decrypt", merge(json!({ "plaintext": "AAAA" }))),
        ),
        row(
            "no checksum of the ciphertext",
            changed,
            on("encrypt", merge(json!({ "ciphertextCrc32c": null }))),
        ),
        row(
            "no checksum of the plaintext",
            changed,
            on("decrypt", merge(json!({ "plaintextCrc32c": null }))),
        ),
        row(
            "the plaintext was not verified",
            changed,
            on(
                "encrypt",
                merge(json!({ "verifiedPlaintextCrc32c": false })),
            ),
        ),
        row(
            "the binding was not verified",
            changed,
            on(
                "encrypt",
                merge(json!({ "verifiedAdditionalAuthenticatedDataCrc32c": false })),
            ),
        ),
        row(
            "another key's version",
            ("Transient", "ProviderError", "Google does not give"),
            on(
                "encrypt",
                merge(json!({ "name": format!("{KEY}2/cryptoKeyVersions/1") })),
            ),
        ),
        row(
            "quota",
            ("Transient", "Throttled", "spec.verify.interval"),
            on("encrypt", Effect::google(429, "RESOURCE_EXHAUSTED")),
        ),
        row(
            "unavailable",
            ("Transient", "ProviderError", "status 503"),
            on("encrypt", Effect::google(503, "UNAVAILABLE")),
        ),
        row(
            "quota of decrypt",
            ("Transient", "Throttled", "spec.verify.interval"),
            on("decrypt", Effect::google(429, "RESOURCE_EXHAUSTED")),
        ),
        row(
            "decrypt unavailable",
            ("Transient", "ProviderError", "status 503"),
            on("decrypt", Effect::google(503, "UNAVAILABLE")),
        ),
        row(
            "hang",
            ("Transient", "Unreachable", "no answer in time"),
            on("decrypt", Effect::Hang),
        ),
        row(
            "reset",
            ("Transient", "Unreachable", "cloudkms.googleapis.com"),
            on("encrypt", Effect::Reset),
        ),
        row(
            "cut short",
            ("Transient", "Unreachable", "before the answer was whole"),
            on("encrypt", Effect::Truncate),
        ),
        row(
            "too large",
            ("Transient", "ProviderError", "over 64 KiB"),
            on("encrypt", Effect::BigBody(70_000)),
        ),
        row(
            "redirect",
            ("Transient", "ProviderError", "status 307"),
            on(
                "encrypt",
                Effect::Redirect("https://sts.googleapis.com/".to_owned()),
            ),
        )
        .sends("other", 0),
        row(
            "a proxy's own 403",
            (
                "Transient",
                "ProviderError",
                "not in the form of Google's APIs",
            ),
            on(
                "encrypt",
                Effect::Status {
                    status: 403,
                    body: "<html>hunter2</html>".to_owned(),
                    retry_after: None,
                    headers: Vec::new(),
                },
            ),
        )
        .hides("hunter2"),
        row(
            "a certificate nobody trusts",
            ("Transient", "Unreachable", "SSL_CERT_FILE"),
            on("connect", Effect::UntrustedCertificate),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_server() {
    const UNAVAILABLE: &str = "IdentityUnavailable";
    let on = |effect: Effect| {
        move |c: &mut Customer| fault(c, METADATA_HOST, "metadata-token", effect.clone())
    };
    let status = |status, headers| Effect::Status {
        status,
        body: "{}".to_owned(),
        retry_after: None,
        headers,
    };
    let flavor = || vec![("metadata-flavor".to_owned(), "Google".to_owned())];
    run(vec![
        row(
            "absent",
            ("Transient", UNAVAILABLE, "curl --noproxy"),
            |c| {
                own(c);
                c.cloud.gcp().metadata_absent(true);
            },
        ),
        row(
            "no account",
            ("Misconfigured", UNAVAILABLE, "iam.workloadIdentityUser"),
            |c| {
                own(c);
                c.cloud.gcp().machine_account(None);
            },
        ),
        row(
            "hang",
            ("Transient", UNAVAILABLE, "no answer in time"),
            on(Effect::Hang),
        ),
        row(
            "something else answers",
            ("Transient", UNAVAILABLE, "is not Google's"),
            on(Effect::Status {
                status: 200,
                body: json!({ "access_token": "a.b", "expires_in": 3_599 }).to_string(),
                retry_after: None,
                headers: Vec::new(),
            }),
        ),
        row(
            "no token in the answer",
            ("Transient", UNAVAILABLE, "is not Google's"),
            on(status(200, flavor())),
        ),
        row(
            "throttles",
            ("Transient", "Throttled", "kubectl get pods"),
            on(status(429, flavor())),
        ),
        row(
            "an error",
            ("Transient", UNAVAILABLE, "status 503"),
            on(status(503, flavor())),
        ),
        row(
            "redirect",
            ("Transient", UNAVAILABLE, "is not Google's"),
            on(Effect::Redirect("http://169.254.169.254/".to_owned())),
        ),
    ])
    .await;
}
