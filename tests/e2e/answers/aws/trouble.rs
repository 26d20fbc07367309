//! What comes back when something is wrong on the way, with the service or with the operator's own identity:
//! never a denial, never repeated, never retried by the SDK.

use fakecloud::aws::effects;
use fakecloud::{Effect, Fault, IMDS_HOST};

use super::{OPERATOR, role};
use crate::answers::{Row, run};

const STS: &str = "sts.eu-central-1.amazonaws.com";
const KMS: &str = "kms.eu-central-1.amazonaws.com";

fn fault(
    name: &'static str,
    means: (&'static str, &'static str, &'static str),
    (host, operation): (&'static str, &'static str),
    effect: Effect,
) -> Row {
    role(name, means, move |c, _, _| {
        let fault = Fault::on(host, effect.clone()).operation(operation);
        c.cloud.fault(fault);
    })
}

/// The same answer from somebody who does not know what every answer of AWS has.
fn strange(effect: Effect) -> Effect {
    match effect {
        Effect::Status { status, body, .. } => Effect::Status {
            status,
            body,
            retry_after: None,
            headers: Vec::new(),
        },
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_is_inconclusive_or_the_platforms_own_fault() {
    const THROTTLED: (&str, &str, &str) = ("Transient", "Throttled", "throttles requests");
    const BROKEN: (&str, &str, &str) = ("Transient", "ProviderError", "curl --verbose");
    const GONE: (&str, &str, &str) = ("Transient", "Unreachable", "curl --verbose");
    const OWN: (&str, &str, &str) = (
        "Misconfigured",
        "CredentialRejected",
        "aws sts get-caller-identity",
    );
    const CLOCK: (&str, &str, &str) = ("Misconfigured", "CredentialRejected", "date -u");
    const NOT_OPENED: (&str, &str, &str) =
        ("Transient", "ProviderError", "tenant-kms keyring import");
    const ENCRYPT: (&str, &str) = (KMS, "encrypt");
    const DECRYPT: (&str, &str) = (KMS, "decrypt");
    const ASSUME: (&str, &str) = (STS, "assume-role");
    let proxy = |status| Effect::Status {
        status,
        body: r#"{"__type":"AccessDeniedException","message":"a proxy's words"}"#.to_owned(),
        retry_after: None,
        headers: Vec::new(),
    };
    run(vec![
        fault(
            "STS throttles",
            THROTTLED,
            ASSUME,
            effects::sts(400, "Throttling", "Rate exceeded"),
        ),
        fault(
            "KMS throttles",
            THROTTLED,
            ENCRYPT,
            effects::kms(400, "ThrottlingException", "m"),
        )
        .sends("encrypt", 1),
        fault(
            "STS 500",
            BROKEN,
            ASSUME,
            effects::sts(500, "InternalFailure", "m"),
        ),
        fault(
            "KMS 500",
            BROKEN,
            ENCRYPT,
            effects::kms(500, "KMSInternalException", "m"),
        )
        .sends("encrypt", 1),
        fault(
            "key unavailable",
            BROKEN,
            ENCRYPT,
            effects::kms(500, "KeyUnavailableException", "m"),
        ),
        fault(
            "a no with a server's status",
            BROKEN,
            ENCRYPT,
            effects::kms(500, "AccessDeniedException", "m"),
        ),
        fault("a proxy's 403", BROKEN, ENCRYPT, proxy(403)).hides("a proxy's words"),
        fault("a proxy's 400", BROKEN, ENCRYPT, proxy(400)).hides("a proxy's words"),
        fault("a proxy's 403 at STS", BROKEN, ASSUME, proxy(403)),
        fault(
            "STS's form without its request's id",
            BROKEN,
            ASSUME,
            strange(effects::sts(403, "AccessDenied", "a stranger's words")),
        )
        .hides("a stranger's words"),
        fault("KMS hangs", GONE, ENCRYPT, Effect::Hang)
            .says(KMS)
            .sends("encrypt", 1),
        fault("STS hangs", GONE, ASSUME, Effect::Hang)
            .says(STS)
            .sends("assume-role", 1),
        fault(
            "the metadata service hangs",
            (
                "Transient",
                "IdentityUnavailable",
                "--http-put-response-hop-limit 2",
            ),
            (IMDS_HOST, "imds-role"),
            Effect::Hang,
        )
        .sends("assume-role", 0),
        fault("a reset", GONE, ENCRYPT, Effect::Reset).sends("encrypt", 1),
        fault("truncated", GONE, ENCRYPT, Effect::Truncate),
        fault("too large", BROKEN, ENCRYPT, Effect::BigBody(70_000)),
        fault(
            "redirected",
            BROKEN,
            ENCRYPT,
            Effect::Redirect("https://evil.test/".to_owned()),
        ),
        fault(
            "an untrusted certificate",
            ("Transient", "Unreachable", "SSL_CERT_FILE"),
            (KMS, "connect"),
            Effect::UntrustedCertificate,
        ),
        fault(
            "another key in the answer",
            BROKEN,
            DECRYPT,
            Effect::Merge(serde_json::json!({ "KeyId": "arn:aws:kms:eu-central-1:1:key/2" })),
        ),
        fault(
            "other bytes in the answer",
            (
                "Transient",
                "ProviderError",
                "other bytes than were wrapped",
            ),
            DECRYPT,
            Effect::Merge(serde_json::json!({ "Plaintext": "AAAA" })),
        ),
        fault(
            "invalid ciphertext",
            NOT_OPENED,
            DECRYPT,
            effects::kms(400, "InvalidCiphertextException", ""),
        )
        .code("InvalidCiphertextException"),
        fault(
            "a ciphertext of another key",
            NOT_OPENED,
            DECRYPT,
            effects::kms(400, "IncorrectKeyException", "m"),
        )
        .code("IncorrectKeyException"),
        role("AWS's clock is ahead", CLOCK, |c, _, _| {
            c.cloud.aws().set_clock_ahead(1200);
        }),
        role("AWS's clock is behind", CLOCK, |c, _, _| {
            c.cloud.aws().set_clock_ahead(-1200);
        }),
        fault(
            "KMS alone sees another time",
            CLOCK,
            ENCRYPT,
            effects::kms(400, "InvalidSignatureException", "Signature expired: x"),
        ),
        fault(
            "its own session has ended",
            OWN,
            ASSUME,
            effects::sts(403, "ExpiredToken", "m"),
        ),
        fault(
            "the session of the role has ended",
            OWN,
            ENCRYPT,
            effects::kms(400, "ExpiredTokenException", "m"),
        ),
        role(
            "no instance profile",
            (
                "Misconfigured",
                "IdentityUnavailable",
                "create-pod-identity-association",
            ),
            |c, _, _| c.cloud.aws().instance_role(None),
        )
        .sends("assume-role", 0),
        role(
            "no metadata service",
            (
                "Transient",
                "IdentityUnavailable",
                "--http-put-response-hop-limit 2",
            ),
            |c, _, _| c.cloud.imds().absent(true),
        ),
        fault(
            "the metadata service refuses",
            ("Misconfigured", "IdentityUnavailable", "aws eks"),
            (IMDS_HOST, "imds-session"),
            Effect::status(403),
        ),
        role(
            "its own token is refused",
            ("Misconfigured", "CredentialRejected", "aws iam get-role"),
            |c, _, _| {
                // A file that is there and holds no token.
                let file = c.cloud.ca_file().to_string_lossy().into_owned();
                c.env.extend([
                    ("AWS_ROLE_ARN".to_owned(), OPERATOR.to_owned()),
                    ("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), file),
                ]);
            },
        )
        .sends("assume-role", 0)
        .sends("imds-session", 0),
    ])
    .await;
}
