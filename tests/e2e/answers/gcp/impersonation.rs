//! What IAM answers when the operator becomes a service account of the customer's.

use anyhow::ensure;
use fakecloud::gcp::IAM_CREDENTIALS_HOST;
use fakecloud::{Effect, Fault, KMS_HOST};

use super::super::{row, works};
use super::{CUSTOMER, KEY, OPERATOR, fault, impersonating, run};

#[tokio::test(flavor = "multi_thread")]
async fn impersonation() {
    run(vec![
        works("by an exact grant", impersonating)
            .sends("generateAccessToken", 1)
            .check(|_, report| {
                let identity = report["identity"].as_str().unwrap_or_default();
                ensure!(identity.starts_with(CUSTOMER), "{report}");
                Ok(())
            }),
        row(
            "taken away",
            (
                "Denial",
                "AccessDenied",
                "gcloud iam service-accounts add-iam-policy-binding",
            ),
            |c| {
                impersonating(c);
                let gcp = c.cloud.gcp();
                let customer = gcp.service_account(CUSTOMER);
                gcp.revoke(&customer.resource(), &format!("serviceAccount:{OPERATOR}"));
            },
        )
        .says("impersonation is denied")
        .says("'serviceAccount:operator@platform-1.iam.gserviceaccount.com'")
        .alone()
        .sends("encrypt", 0),
        row(
            "the account is deleted",
            ("Denial", "AccessDenied", "impersonation is denied"),
            |c| {
                impersonating(c);
                c.cloud.gcp().service_account(CUSTOMER).delete();
            },
        ),
        row(
            "the account is disabled",
            (
                "Denial",
                "AccessDenied",
                "gcloud iam service-accounts enable 'tenant-kms@acme-prod",
            ),
            |c| {
                impersonating(c);
                c.cloud.gcp().service_account(CUSTOMER).disable();
            },
        )
        .says("is disabled")
        .code("FAILED_PRECONDITION")
        .sends("encrypt", 0),
        row(
            "granted, and not on the key",
            (
                "Denial",
                "AccessDenied",
                "'serviceAccount:tenant-kms@acme-prod.iam",
            ),
            |c| {
                impersonating(c);
                c.cloud
                    .gcp()
                    .revoke(KEY, &format!("serviceAccount:{CUSTOMER}"));
            },
        )
        .says("gcloud kms keys add-iam-policy-binding"),
        row(
            "its service is not enabled",
            (
                "Misconfigured",
                "CredentialRejected",
                "gcloud services enable",
            ),
            |c| {
                impersonating(c);
                c.cloud
                    .gcp()
                    .disable_service("platform-1", IAM_CREDENTIALS_HOST);
            },
        )
        .code("SERVICE_DISABLED"),
        works("a token that is refused is not used again", |c| {
            impersonating(c);
            let refused = Effect::google(401, "UNAUTHENTICATED");
            c.cloud.fault(Fault::on(KMS_HOST, refused).times(1));
        })
        .sends("encrypt", 2)
        .sends("generateAccessToken", 2),
        row(
            "refused again",
            (
                "Misconfigured",
                "CredentialRejected",
                "does not accept the token",
            ),
            |c| {
                fault(
                    c,
                    KMS_HOST,
                    "encrypt",
                    Effect::google(401, "UNAUTHENTICATED"),
                );
            },
        )
        .sends("encrypt", 2),
        row(
            "quota",
            ("Transient", "Throttled", "iamcredentials.googleapis.com"),
            |c| {
                fault(
                    c,
                    IAM_CREDENTIALS_HOST,
                    "generateAccessToken",
                    Effect::google(429, "RESOURCE_EXHAUSTED"),
                );
            },
        ),
        row(
            "unavailable",
            ("Transient", "ProviderError", "status 503"),
            |c| {
                fault(
                    c,
                    IAM_CREDENTIALS_HOST,
                    "generateAccessToken",
                    Effect::google(503, "UNAVAILABLE"),
                );
            },
        ),
        row(
            "hang",
            ("Transient", "Unreachable", "no answer in time"),
            |c| {
                fault(c, IAM_CREDENTIALS_HOST, "generateAccessToken", Effect::Hang);
            },
        )
        .says("iamcredentials.googleapis.com"),
        row(
            "too large",
            ("Transient", "ProviderError", "over 64 KiB"),
            |c| {
                fault(
                    c,
                    IAM_CREDENTIALS_HOST,
                    "generateAccessToken",
                    Effect::BigBody(70_000),
                );
            },
        ),
    ])
    .await;
}
