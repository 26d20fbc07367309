//! What goes wrong, and what the caller hears of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use serde_json::json;
use tokio::sync::Semaphore;

use super::super::{Category, Client, Error, Item, Kind, Options};
use super::ACME;
use super::server::{Reply, Server, TOKEN, advance, eventually};

async fn encrypt(client: &Client) -> Result<(), Error> {
    client.encrypt(ACME, b"hunter2", b"").await.map(drop)
}

/// The error of a first call; it repeats no secret.
async fn refused(client: &Client) -> Error {
    let error = encrypt(client).await.expect_err("refused");
    let said = format!("{error} {error:?} {client:?}");
    assert!(!said.contains("hunter2"), "{said}");
    error
}

#[tokio::test]
async fn a_sealed_tenant_is_told_at_once_with_the_operators_words() {
    let server = Server::start().await;
    let client = server.client();
    let sealed = || Reply::Refuse(503, "tenant_sealed", Some(30));
    server.reply("encrypt", sealed());
    let error = refused(&client).await;
    assert_eq!(
        (error.kind(), error.category()),
        (Kind::TenantSealed, Category::Sealed)
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    assert_eq!(error.to_string(), "told: tenant_sealed (tenant_sealed)");
    assert_eq!(server.seen("encrypt").len(), 1, "not tried again");
    encrypt(&client).await.expect("unsealed");

    // Also where no time is named, and where a session is asked for.
    for operation in ["encrypt", "session"] {
        server.reply(operation, Reply::Refuse(503, "tenant_sealed", None));
        let error = refused(&server.client()).await;
        assert_eq!(error.category(), Category::Sealed);
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_no_sooner_than_asked() {
    let server = Server::start().await;
    let client = server.client();
    encrypt(&client).await.expect("encrypt");
    server.reply("encrypt", Reply::Refuse(503, "busy", None));
    encrypt(&client).await.expect("tried again");
    assert_eq!(server.seen("encrypt").len(), 3);

    server.reply("encrypt", Reply::Refuse(429, "rate_limited", Some(5)));
    let steps = async {
        eventually("refused", || server.seen("encrypt").len() == 4).await;
        // Until the client has read that, too.
        encrypt(&server.client()).await.expect("another");
        advance(Duration::from_secs(2)).await;
        encrypt(&server.client()).await.expect("another");
        assert_eq!(server.seen("encrypt").len(), 6, "before Retry-After");
        advance(Duration::from_millis(3_100)).await;
    };
    let (answer, ()) = tokio::join!(encrypt(&client), steps);
    answer.expect("tried again");
    assert_eq!(server.seen("encrypt").len(), 7);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_left_to_the_caller() {
    let server = Server::start().await;
    let client = server.client();
    server.reply("encrypt", Reply::Refuse(429, "rate_limited", Some(86_400)));
    let error = refused(&client).await;
    assert_eq!(server.seen("encrypt").len(), 1, "not tried again");
    assert_eq!(error.category(), Category::Unavailable);
    assert_eq!(
        error.retry_after(),
        Some(Duration::from_hours(1)),
        "bounded"
    );
}

#[tokio::test]
async fn a_peer_that_hangs_leaves_time_for_another_and_ends_at_the_deadline() {
    for operation in ["session", "encrypt"] {
        let server = Server::start().await;
        let client = server.client();
        let time_goes_on = async |attempts: usize| {
            for attempt in 1..=attempts {
                eventually("asked", || server.seen(operation).len() == attempt).await;
                advance(Duration::from_secs(5)).await;
            }
        };
        for _ in 0..2 {
            server.reply(operation, Reply::Hang);
        }
        let (error, ()) = tokio::join!(refused(&client), time_goes_on(2));
        assert_eq!(error.kind(), Kind::DeadlineExceeded, "{operation}");
        encrypt(&client).await.expect("the next one is served");
    }
    let server = Server::start().await;
    let client = server.client();
    server.reply("encrypt", Reply::Hang);
    let time_goes_on = async {
        eventually("asked", || server.seen("encrypt").len() == 1).await;
        advance(Duration::from_secs(5)).await;
    };
    let (answer, ()) = tokio::join!(encrypt(&client), time_goes_on);
    answer.expect("by another connection");
}

#[tokio::test]
async fn an_answer_is_bounded_whether_announced_or_not() {
    const CHUNK: usize = 64 * 1024;
    let server = Server::start().await;
    let client = server.client();
    let announced = Body::from(vec![b'x'; 40 * CHUNK]);
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; CHUNK]));
    for body in [announced, Body::from_stream(endless)] {
        server.reply("encrypt", Reply::Raw(200, None, body));
        assert_eq!(refused(&client).await.kind(), Kind::AnswerTooLarge);
    }
    encrypt(&client).await.expect("the next one is served");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_foreign_answer_not_repeated() {
    let server = Server::start().await;
    let client = server.client();
    let elsewhere = Some(("location", "/agent/v1/elsewhere"));
    for (status, header, body) in [
        (307, elsewhere, "hunter2"),
        (200, None, "hunter2"),
        (200, None, r#"{"ciphertext":"hunter2!","key_id":"k"}"#),
    ] {
        server.reply("encrypt", Reply::Raw(status, header, body.into()));
        assert_eq!(refused(&client).await.kind(), Kind::AnswerNotUnderstood);
    }
    assert!(server.seen("elsewhere").is_empty());
    for answer in [
        r#"{"items":[]}"#,
        r#"{"items":[{"error":{"type":"?","message":""}}]}"#,
    ] {
        server.reply("rewrap", Reply::Raw(200, None, answer.into()));
        let item = Item {
            ciphertext: b"a|",
            aad: b"",
        };
        let outcome = client.rewrap(ACME, &[item]).await;
        let outcome = outcome.and_then(|mut items| items.remove(0));
        assert_eq!(
            outcome.expect_err("refused").kind(),
            Kind::AnswerNotUnderstood
        );
    }
}

#[tokio::test]
async fn the_token_is_read_at_each_use() {
    let server = Server::start().await;
    let client = server.client();
    encrypt(&client).await.expect("encrypt");
    server.write("token", "second-token\n");
    encrypt(&client).await.expect("encrypt");
    let tokens = server.seen("encrypt").into_iter().map(|seen| seen.token);
    assert_eq!(tokens.collect::<Vec<_>>(), [TOKEN, "second-token"]);

    for (content, said) in [
        (Some(""), "no token"),
        (Some("a\u{7}b"), "no token"),
        (None, "read"),
    ] {
        match content {
            Some(content) => server.write("token", content),
            None => std::fs::remove_file(server.path("token")).expect("remove"),
        }
        let error = refused(&client).await;
        assert_eq!(error.kind(), Kind::FileUnreadable);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn the_authority_is_followed_and_nobody_else_is_trusted() {
    let server = Server::start().await;
    let client = server.client();
    encrypt(&client).await.expect("encrypt");

    let next = server.certify();
    let seen = server.seen("encrypt").len();
    let error = refused(&client).await;
    assert_eq!(error.kind(), Kind::CertificateNotTrusted);
    assert_eq!(server.seen("encrypt").len(), seen);
    let old = std::fs::read_to_string(server.path("ca.crt")).expect("read");
    server.write("ca.crt", &format!("{old}{next}"));
    encrypt(&client).await.expect("the new one is trusted");

    // What is no bundle takes no trust away; who begins with it trusts nobody.
    server.write("ca.crt", "hunter2");
    encrypt(&client).await.expect("still trusted");
    assert_eq!(refused(&server.client()).await.kind(), Kind::FileUnreadable);
    server.write("ca.crt", &old);
    assert_eq!(refused(&client).await.kind(), Kind::CertificateNotTrusted);
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let server = Server::start().await;
    let client = server.client();
    let (large, aad) = (vec![0; 512 * 1024 + 1], vec![0; 8 * 1024 + 1]);
    let ciphertext = vec![0; 800 * 1024];
    let item = Item {
        ciphertext: b"a|",
        aad: b"",
    };
    for refused in [
        client.encrypt(ACME, &large, b"").await.map(drop),
        client.encrypt(ACME, b"", &aad).await.map(drop),
        client.data_key(ACME, &aad).await.map(drop),
        client.decrypt(ACME, &ciphertext, b"").await.map(drop),
        client.rewrap(ACME, &[item; 101]).await.map(drop),
    ] {
        let error = refused.expect_err("refused");
        assert_eq!(error.category(), Category::Invalid);
        assert_eq!(error.kind(), Kind::PayloadTooLarge);
    }
    assert!(server.seen("session").is_empty());
}

#[tokio::test]
async fn a_data_key_is_not_printed_and_ends_with_its_session() {
    let server = Server::start().await;
    let client = server.client();
    let key = client.data_key(ACME, b"").await.expect("data key");
    assert_eq!(key.keep_until().to_string(), "2027-01-15T08:05:00Z");
    let printed = format!("{key:?}");
    assert!(
        !printed.contains("7, 7") && printed.contains("keep_until"),
        "{printed}"
    );
    advance(Duration::from_secs(super::server::TTL - 30)).await;
    assert!(key.expose().is_some());
    advance(Duration::from_secs(30)).await;
    assert!(key.expose().is_none());
}

/// The terms may have become shorter since the session began.
#[tokio::test]
async fn a_data_key_ends_when_the_operator_says_however_it_came() {
    let server = Server::start().await;
    let client = server.client();
    let sealed = client.data_key(ACME, b"file").await.expect("data key");
    let sealed = &sealed.ciphertext().bytes;
    let whole = client.open_data_key(ACME, sealed, b"file").await;
    let whole = whole.expect("data key");
    assert_eq!(whole.ciphertext().bytes, *sealed);
    assert_eq!(whole.keep_until().to_string(), "2027-01-15T08:05:00Z");

    let answer = |ciphertext: &str| {
        let plaintext = STANDARD.encode([7; 32]);
        let answer = json!({ "plaintext": plaintext, "ciphertext": ciphertext, "key_id": "k1",
            "keep_until": "2027-01-15T08:01:00Z" });
        Reply::Raw(200, None, answer.to_string().into())
    };
    server.reply("data-key", answer(&STANDARD.encode(sealed)));
    server.reply("decrypt", answer(""));
    let keys = [
        client.data_key(ACME, b"file").await.expect("data key"),
        client
            .open_data_key(ACME, sealed, b"file")
            .await
            .expect("data key"),
    ];
    for key in &keys {
        assert_eq!(key.expose(), Some(&[7; 32][..]));
        assert_eq!(key.keep_until().to_string(), "2027-01-15T08:01:00Z");
    }
    advance(Duration::from_mins(1)).await;
    for key in &keys {
        assert!(key.expose().is_none(), "{key:?}");
    }
    assert!(whole.expose().is_some());

    // What is no data key is none, and what does not say until when is not kept.
    let record = client
        .encrypt(ACME, b"a record", b"")
        .await
        .expect("encrypt");
    server.reply(
        "decrypt",
        Reply::Raw(200, None, r#"{"plaintext":"","key_id":"k1"}"#.into()),
    );
    for ciphertext in [sealed, &record.bytes] {
        let refused = client.open_data_key(ACME, ciphertext, b"").await;
        let kind = refused.expect_err("refused").kind();
        assert_eq!(kind, Kind::AnswerNotUnderstood);
    }
}

#[tokio::test]
async fn a_session_is_as_old_as_the_request_for_it() {
    let server = Server::start().await;
    let client = server.client();
    let gate = Arc::new(Semaphore::new(0));
    server.reply("session", Reply::Held(gate.clone()));
    let late = async {
        eventually("asked", || server.seen("session").len() == 1).await;
        advance(Duration::from_secs(4)).await;
        gate.add_permits(1);
    };
    let (key, ()) = tokio::join!(client.data_key(ACME, b""), late);
    let key = key.expect("data key");
    advance(Duration::from_secs(super::server::TTL - 30)).await;
    assert!(key.expose().is_some());
    advance(Duration::from_secs(30 - 4)).await;
    assert!(key.expose().is_none());
}

#[test]
fn only_https_to_a_bare_host_is_a_base() {
    let with = |url: &str| {
        let url = url.to_owned();
        Client::new(Options {
            url,
            ..Options::default()
        })
    };
    for url in [
        "https://kms.svc",
        "https://kms.svc:8443/",
        "https://[::1]:1/behind",
    ] {
        assert!(with(url).is_ok(), "{url}");
    }
    for url in [
        "",
        "kms.svc",
        "http://kms.svc",
        "https://user@kms.svc",
        "https://:hunter2@kms.svc",
        "https://kms.svc/?hunter2",
        "https://kms.svc/#hunter2",
    ] {
        let error = with(url).expect_err("refused");
        assert!(!error.to_string().contains("hunter2"), "{url}");
    }
}
