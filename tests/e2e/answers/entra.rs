//! What the token endpoint answers. Only an application that is gone or disabled is the
//! customer's no; a wrong secret is the platform's own fault.

use fakecloud::{ENTRA_HOST, Effect, Fault};
use serde_json::json;

use super::{CLIENT, DIRECTORY, Row, SECRET, VARIABLE, row, run, with_secret, works};

const OTHER: &str = "99998888-7777-6666-5555-444433332222";

fn token(effect: Effect) -> Fault {
    Fault::on(ENTRA_HOST, effect).operation("token")
}

fn answer(status: u16, body: &str) -> Effect {
    Effect::Status {
        status,
        body: body.to_owned(),
        retry_after: None,
        headers: Vec::new(),
    }
}

/// A refusal in Entra's form with this number.
fn refusal(number: u32) -> Effect {
    let body = json!({
        "error": "invalid_client", "error_description": "<b>upstream words</b>\u{1b}[31m",
        "error_codes": [number],
    });
    answer(400, &body.to_string())
}

/// A row on a refusal with the number in its code, whose message repeats nothing of it.
fn numbered(code: &'static str, means: (&'static str, &'static str, &'static str)) -> Row {
    let number = code.trim_start_matches("AADSTS").parse();
    let number = number.expect("a number");
    row(code, means, move |c| {
        c.cloud.fault(token(refusal(number)));
    })
    .code(code)
    .hides("upstream")
    .sends("wrapkey", 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_answers_mean_what_the_table_says() {
    run(vec![
        works("the right secret", |_| {})
            .sends("token", 1)
            .sends("challenge", 1)
            .sends("wrapkey", 1)
            .sends("unwrapkey", 1)
            .check(|customer, report| {
                anyhow::ensure!(report["kekVersion"] == customer.key.version(), "{report}");
                let identity = report["identity"].as_str().unwrap_or_default();
                anyhow::ensure!(identity.contains(CLIENT) && identity.contains(VARIABLE));
                Ok(())
            }),
        works("the secret in the process environment", |customer| {
            customer.secret = None;
            customer.env.push((VARIABLE.to_owned(), SECRET.to_owned()));
        }),
        row(
            "wrong secret",
            (
                "Misconfigured",
                "CredentialRejected",
                "az ad app credential reset",
            ),
            |c| {
                c.secret = Some("Zq8~Q.not-the-one".to_owned());
            },
        )
        .code("AADSTS7000215")
        .sends("token", 1)
        .sends("wrapkey", 0)
        .hides("Zq8~Q.not-the-one"),
        row(
            "expired secret",
            ("Misconfigured", "CredentialRejected", "has expired"),
            |c| {
                c.app.remove_secret(SECRET);
                c.app.add_expired_secret(SECRET);
            },
        )
        .code("AADSTS7000222"),
        row(
            "unknown application",
            ("Denial", "AccessDenied", "az ad sp create"),
            |c| {
                c.spec = with_secret(DIRECTORY, OTHER, VARIABLE);
            },
        )
        .code("AADSTS700016"),
        row(
            "deleted application",
            ("Denial", "AccessDenied", "az ad sp create"),
            |c| c.app.delete(),
        ),
        row(
            "unknown directory",
            ("Misconfigured", "CredentialRejected", "properties.tenantId"),
            |c| {
                c.spec = with_secret(OTHER, CLIENT, VARIABLE);
            },
        )
        .code("AADSTS90002"),
        row(
            "disabled application",
            ("Denial", "AccessDenied", "accountEnabled=true"),
            |c| {
                c.app.disable();
            },
        )
        .code("AADSTS7000112"),
        numbered(
            "AADSTS65001",
            (
                "Misconfigured",
                "CredentialRejected",
                "nobody with the right to",
            ),
        )
        .says("adminconsent"),
        numbered(
            "AADSTS7000229",
            ("Denial", "AccessDenied", "has no service principal"),
        )
        .says("az ad sp create"),
        numbered(
            "AADSTS70021",
            ("Denial", "AccessDenied", "federated-credential list"),
        ),
        numbered(
            "AADSTS70025",
            ("Denial", "AccessDenied", "federated-credential list"),
        ),
        numbered(
            "AADSTS700211",
            ("Denial", "AccessDenied", "federated-credential list"),
        ),
        numbered(
            "AADSTS700212",
            ("Denial", "AccessDenied", "federated-credential list"),
        ),
        numbered(
            "AADSTS700213",
            ("Denial", "AccessDenied", "federated-credential list"),
        ),
        numbered(
            "AADSTS7002138",
            ("Denial", "AccessDenied", "federated-credential list"),
        ),
        numbered(
            "AADSTS700027",
            ("Misconfigured", "CredentialRejected", "could not verify"),
        ),
        numbered(
            "AADSTS50166",
            ("Misconfigured", "CredentialRejected", "oidcIssuerProfile"),
        ),
        row(
            "assertion out of time",
            ("Misconfigured", "CredentialRejected", "date -u"),
            |c| {
                c.cloud.fault(token(refusal(700_024)));
            },
        )
        .code("AADSTS700024"),
        row(
            "a number that is not listed",
            ("Misconfigured", "CredentialRejected", "az ad app show"),
            |c| {
                c.cloud.fault(token(refusal(53_003)));
            },
        )
        .code("AADSTS53003")
        .hides("upstream"),
        row(
            "429 with Retry-After",
            ("Transient", "Throttled", "throttles token requests"),
            |c| {
                c.cloud.fault(token(Effect::throttled(Some("17"))));
            },
        )
        .sends("token", 1)
        .check(|_, report| {
            anyhow::ensure!(report["retryAfterSeconds"] == 17, "{report}");
            Ok(())
        }),
        row("500", ("Transient", "ProviderError", "status 500"), |c| {
            c.cloud.fault(token(Effect::status(500)));
        })
        .sends("token", 1),
        row(
            "a proxy's page instead of an answer",
            ("Transient", "ProviderError", "no known form"),
            |c| {
                c.cloud
                    .fault(token(answer(403, "<html>blocked by policy</html>")));
            },
        )
        .hides("blocked"),
        row(
            "a refusal in another form",
            ("Transient", "ProviderError", "no known form"),
            |c| {
                c.cloud
                    .fault(token(answer(400, r#"{"error":"unauthorized_client"}"#)));
            },
        ),
        row(
            "garbage as a token",
            ("Transient", "ProviderError", "no token"),
            |c| {
                let (content_type, bytes) = ("text/plain".to_owned(), b"hello".to_vec());
                c.cloud.fault(token(Effect::Body {
                    content_type,
                    bytes,
                }));
            },
        )
        .sends("wrapkey", 0),
        row(
            "markup as a token",
            ("Transient", "ProviderError", "no token"),
            |c| {
                c.cloud
                    .fault(token(Effect::Merge(json!({ "access_token": "<b>\n" }))));
            },
        )
        .sends("wrapkey", 0),
        row(
            "10 MiB",
            ("Transient", "ProviderError", "over 64 KiB"),
            |c| {
                c.cloud.fault(token(Effect::BigBody(10 * 1024 * 1024)));
            },
        )
        .sends("token", 1),
        row(
            "redirect to another host",
            ("Transient", "ProviderError", "status 307"),
            |c| {
                let other = "https://other-kv.vault.azure.net/keys/wrap".to_owned();
                c.cloud.vault("other-kv", &c.directory);
                c.cloud.fault(token(Effect::Redirect(other)));
            },
        )
        .sends("token", 1)
        .check(|customer, _| {
            let followed = customer.cloud.count("other-kv.vault.azure.net", "*");
            anyhow::ensure!(followed == 0, "the redirect was followed");
            Ok(())
        }),
        row(
            "hang",
            ("Transient", "Unreachable", "no answer in time"),
            |c| {
                c.cloud.fault(token(Effect::Hang));
            },
        )
        .sends("token", 1),
        row(
            "reset",
            ("Transient", "Unreachable", "login.microsoftonline.com"),
            |c| {
                c.cloud.fault(token(Effect::Reset));
            },
        )
        .sends("token", 1),
    ])
    .await;
}
