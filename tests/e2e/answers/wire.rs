//! What comes back when something is wrong on the way or with the service: never a denial, never
//! repeated, never followed, never retried by the SDK.

use std::time::Duration;

use anyhow::ensure;
use fakecloud::{Effect, Fault};
use serde_json::{Value, json};

use super::{Customer, Row, VAULT_HOST, row, run};

fn at(operation: &'static str, effect: Effect) -> impl Fn(&mut Customer) + Send + Sync {
    move |customer| {
        let fault = Fault::on(VAULT_HOST, effect.clone()).operation(operation);
        customer.cloud.fault(fault);
    }
}

fn answer(status: u16, body: &Value, headers: &[(&str, &str)]) -> Effect {
    let body = body
        .as_str()
        .map_or_else(|| body.to_string(), str::to_owned);
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Effect::Status {
        status,
        body,
        retry_after: None,
        headers: headers.iter().map(own).collect(),
    }
}

fn forbidden(inner: &str) -> Effect {
    let error = json!({ "code": "Forbidden", "message": "m", "innererror": { "code": inner } });
    answer(403, &json!({ "error": error }), &[])
}

fn retry_after(row: Row, check: impl Fn(Option<u64>) -> bool + Send + Sync + 'static) -> Row {
    row.sends("wrapkey", 1).check(move |_, report| {
        ensure!(check(report["retryAfterSeconds"].as_u64()), "{report}");
        Ok(())
    })
}

const THROTTLED: (&str, &str, &str) = ("Transient", "Throttled", "spec.verify.interval");
const BROKEN: (&str, &str, &str) = ("Transient", "ProviderError", "nothing is concluded");
const GONE: (&str, &str, &str) = ("Transient", "Unreachable", "curl --verbose");

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_server_errors_are_inconclusive() {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
    let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    run(vec![
        retry_after(
            row(
                "429 in seconds",
                THROTTLED,
                at("wrapkey", Effect::throttled(Some("30"))),
            ),
            |after| after == Some(30),
        ),
        retry_after(
            row(
                "429 until a date",
                THROTTLED,
                at("wrapkey", Effect::throttled(Some(&date))),
            ),
            |after| after.is_some_and(|after| (30..=90).contains(&after)),
        ),
        retry_after(
            row(
                "429 without a time",
                THROTTLED,
                at("wrapkey", Effect::throttled(None)),
            ),
            |after| after.is_none(),
        ),
        row(
            "429 at unwrap",
            THROTTLED,
            at("unwrapkey", Effect::throttled(None)),
        ),
        row("500", BROKEN, at("wrapkey", Effect::status(500))).sends("wrapkey", 1),
        row("503", BROKEN, at("wrapkey", Effect::status(503))).sends("wrapkey", 1),
        row(
            "500 at unwrap",
            BROKEN,
            at("unwrapkey", Effect::status(500)),
        )
        .sends("unwrapkey", 1),
        row(
            "502 from a proxy",
            BROKEN,
            at("wrapkey", answer(502, &json!("<h1>Bad gateway</h1>"), &[])),
        ),
        row(
            "private link only",
            ("Transient", "Unreachable", "private endpoints"),
            at("wrapkey", forbidden("ForbiddenByConnection")),
        ),
        row(
            "a 403 that is not listed",
            BROKEN,
            at("wrapkey", forbidden("SomethingNew")),
        )
        .code("SomethingNew"),
        row(
            "a 403 of Key Vault without detail",
            ("Denial", "AccessDenied", "az role assignment create"),
            at(
                "wrapkey",
                answer(
                    403,
                    &json!({ "error": { "code": "Forbidden", "message": "m" } }),
                    &[("x-ms-keyvault-service-version", "1.9")],
                ),
            ),
        ),
        row(
            "the same 403, not from Key Vault",
            BROKEN,
            at(
                "wrapkey",
                answer(
                    403,
                    &json!({ "error": { "code": "Forbidden", "message": "m" } }),
                    &[],
                ),
            ),
        ),
        row(
            "a proxy's 403 page",
            BROKEN,
            at("wrapkey", answer(403, &json!("<html>denied</html>"), &[])),
        )
        .hides("denied</html>"),
        row(
            "a proxy's 404 page",
            BROKEN,
            at("wrapkey", answer(404, &json!("<html></html>"), &[])),
        ),
        row(
            "a 404 that is not the key's",
            BROKEN,
            at(
                "wrapkey",
                answer(
                    404,
                    &json!({ "error": { "code": "NotFound", "message": "m" } }),
                    &[],
                ),
            ),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_inconclusive() {
    run(vec![
        row("hang at wrap", GONE, at("wrapkey", Effect::Hang)).sends("wrapkey", 1),
        row("hang at unwrap", GONE, at("unwrapkey", Effect::Hang)).sends("unwrapkey", 1),
        row(
            "hang at the first request",
            GONE,
            at("challenge", Effect::Hang),
        )
        .sends("token", 0),
        row("hang at the proxy", GONE, at("connect", Effect::Hang)).sends("challenge", 0),
        row("reset", GONE, at("wrapkey", Effect::Reset)).sends("wrapkey", 1),
        row("cut in the middle", GONE, at("wrapkey", Effect::Truncate)).sends("wrapkey", 1),
        row(
            "the proxy refuses",
            GONE,
            at("connect", answer(403, &json!("no"), &[])),
        )
        .sends("challenge", 0),
        row("the proxy resets", GONE, at("connect", Effect::Reset)).sends("challenge", 0),
        row(
            "a certificate that nobody trusts",
            ("Transient", "Unreachable", "SSL_CERT_FILE"),
            at("connect", Effect::UntrustedCertificate),
        )
        .sends("challenge", 0),
        super::works(
            "slow, and within the deadline",
            at("wrapkey", Effect::Latency(Duration::from_secs(2))),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_believed_only_in_their_form() {
    const MARKUP: &str = "<script>alert(1)</script>\u{1b}[31m";
    let body = |text: &str| Effect::Body {
        content_type: "application/json".to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    let kid = |kid: &str| Effect::Merge(json!({ "kid": kid }));
    let version = "0".repeat(32);
    let marked = json!({ "error": {
        "code": MARKUP, "message": MARKUP, "innererror": { "code": MARKUP },
    }});
    let challenge = |resource: &str| {
        let value = format!(
            r#"Bearer authorization="https://login.microsoftonline.com/x", resource="{resource}""#
        );
        answer(401, &json!({}), &[("www-authenticate", &value)])
    };
    run(vec![
        row("garbage", BROKEN, at("wrapkey", body("hello"))).sends("unwrapkey", 0),
        row("an empty object", BROKEN, at("wrapkey", body("{}"))).sends("unwrapkey", 0),
        row(
            "no value",
            BROKEN,
            at("wrapkey", Effect::Merge(json!({ "value": null }))),
        ),
        row(
            "wrong bytes at unwrap",
            (
                "Transient",
                "ProviderError",
                "other bytes than were wrapped",
            ),
            at("unwrapkey", Effect::WrongUnwrap),
        ),
        row(
            "another version at unwrap",
            BROKEN,
            at("unwrapkey", Effect::OtherVersion),
        ),
        row(
            "another host in kid",
            BROKEN,
            at(
                "wrapkey",
                kid(&format!("https://evil.vault.azure.net/keys/wrap/{version}")),
            ),
        )
        .sends("unwrapkey", 0),
        row(
            "another key in kid",
            BROKEN,
            at(
                "wrapkey",
                kid(&format!("https://{VAULT_HOST}/keys/other/{version}")),
            ),
        )
        .sends("unwrapkey", 0),
        row(
            "a path in kid",
            BROKEN,
            at(
                "wrapkey",
                kid(&format!("https://{VAULT_HOST}/keys/wrap/..%2f..%2fsecrets")),
            ),
        )
        .sends("unwrapkey", 0),
        row(
            "10 MiB",
            ("Transient", "ProviderError", "over 64 KiB"),
            at("wrapkey", Effect::BigBody(10 * 1024 * 1024)),
        )
        .sends("wrapkey", 1)
        .sends("unwrapkey", 0),
        row("redirect", BROKEN, |c: &mut Customer| {
            c.cloud.vault("other-kv", &c.directory);
            at(
                "wrapkey",
                Effect::Redirect("https://other-kv.vault.azure.net/".to_owned()),
            )(c);
        })
        .sends("wrapkey", 1)
        .check(|customer, _| {
            let followed = customer.cloud.count("other-kv.vault.azure.net", "*");
            ensure!(followed == 0, "the redirect was followed");
            Ok(())
        }),
        row(
            "markup and control characters in every field",
            BROKEN,
            at(
                "wrapkey",
                answer(403, &marked, &[("x-ms-request-id", "<script>")]),
            ),
        )
        .hides("script")
        .check(|_, report| {
            ensure!(
                report["code"].is_null() && report["requestId"].is_null(),
                "{report}"
            );
            Ok(())
        }),
        row(
            "markup in kid",
            BROKEN,
            at("wrapkey", kid("https://<script>/")),
        )
        .hides("script"),
        row(
            "a challenge for another audience",
            BROKEN,
            at("challenge", challenge("https://graph.microsoft.com")),
        )
        .sends("token", 0),
        // The SDK compares suffixes only, and `net` is one of every host.
        row(
            "a challenge for half of a name",
            ("Transient", "ProviderError", "nothing was sent"),
            at("challenge", challenge("https://net")),
        )
        .sends("token", 0),
        row(
            "no challenge",
            BROKEN,
            at("challenge", answer(401, &json!({}), &[])),
        )
        .sends("token", 0),
    ])
    .await;
}
