//! Faults: each effect as a client feels it, and which requests a fault hits.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use fakecloud::{Effect, Fault};
use serde_json::json;

use crate::desk::{Desk, HOST, SECRET, client, refused, said, wrap_body};

fn on_wrap(effect: Effect) -> Fault {
    Fault::on(HOST, effect).operation("wrapkey")
}

async fn wrap(desk: &Desk, token: &str) -> Result<reqwest::Response, reqwest::Error> {
    let url = format!("https://{HOST}/keys/tenant-wrapping-key//wrapkey?api-version=7.6");
    desk.http
        .post(url)
        .bearer_auth(token)
        .json(&wrap_body(b"plain"))
        .send()
        .await
}

/// Whether the peer reset the connection, which is not the same as closing it.
fn was_reset(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn statuses() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let id = desk.cloud.fault(on_wrap(Effect::throttled(Some("7"))));
    let response = wrap(&desk, &token).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "7");
    refused(&said(response).await, 429, "Throttled", "");
    desk.cloud.clear_fault(id);
    desk.cloud.fault(on_wrap(Effect::throttled(None)));
    assert!(
        !wrap(&desk, &token)
            .await
            .unwrap()
            .headers()
            .contains_key("retry-after")
    );
    desk.cloud.fault(on_wrap(Effect::status(503)));
    refused(&desk.wrap(&token).await, 503, "ServiceUnavailable", "");
    desk.cloud.fault(on_wrap(Effect::Status {
        status: 403,
        body: "<html>proxy</html>".to_owned(),
        retry_after: None,
        headers: vec![("x-ms-request-id".to_owned(), "chosen".to_owned())],
    }));
    let response = wrap(&desk, &token).await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["x-ms-request-id"]
        ),
        (403, &"chosen".parse().unwrap())
    );
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let last = desk.cloud.calls().pop().unwrap();
    assert_eq!(
        (last.status, last.request_id.as_deref()),
        (403, Some("chosen"))
    );
    desk.cloud.clear_faults();
    assert_eq!(
        desk.wrap(&token).await.0,
        200,
        "a fault changes nothing in the cloud"
    );
}

#[tokio::test]
async fn a_fault_hits_what_it_names() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let version = desk.key.version();
    let (_, body) = desk.wrap(&token).await;
    let wrapped = body["value"].as_str().unwrap();
    desk.cloud.fault(on_wrap(Effect::status(500)).times(2));
    for status in [500, 500, 200] {
        assert_eq!(desk.wrap(&token).await.0, status);
        assert_eq!(
            desk.unwrap(&token, &version, wrapped).await.0,
            200,
            "another operation"
        );
    }
    let other = desk.cloud.vault("other", &desk.dir);
    desk.cloud
        .fault(Fault::on(&other.host(), Effect::status(500)));
    assert_eq!(desk.wrap(&token).await.0, 200, "another host");
    let id = desk
        .cloud
        .fault(Fault::on("*", Effect::status(500)).principal("someone"));
    assert_eq!(desk.wrap(&token).await.0, 200, "another principal");
    desk.cloud.clear_fault(id);
    desk.cloud
        .fault(Fault::on("*", Effect::status(500)).principal(&desk.app.principal()));
    assert_eq!(desk.wrap(&token).await.0, 500);
    assert_eq!(
        desk.secret_login(SECRET).await.0,
        500,
        "the principal is known at Entra too"
    );
    assert_eq!(desk.secret_login("wrong").await.0, 500);
}

#[tokio::test]
async fn late_never_and_cut_short() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let id = desk
        .cloud
        .fault(on_wrap(Effect::Latency(Duration::from_millis(300))));
    let start = Instant::now();
    assert_eq!(desk.wrap(&token).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
    desk.cloud.clear_fault(id);
    for effect in [Effect::Reset, Effect::Truncate] {
        let id = desk.cloud.fault(on_wrap(effect.clone()));
        let ended = match wrap(&desk, &token).await {
            Ok(response) => response.bytes().await.map(|_| ()),
            Err(error) => Err(error),
        };
        let error = ended.unwrap_err();
        let reset = matches!(effect, Effect::Reset);
        assert_eq!(was_reset(&error), reset, "{effect:?}: {error:?}");
        let body = matches!(effect, Effect::Truncate);
        assert_eq!(
            (error.is_body() || error.is_decode(), error.is_timeout()),
            (body, false),
            "{effect:?}: {error:?}"
        );
        desk.cloud.clear_fault(id);
    }
    assert_eq!(desk.wrap(&token).await.0, 200);
}

#[tokio::test]
async fn a_hanging_call_is_seen_while_it_hangs() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.cloud.fault(on_wrap(Effect::Hang));
    let mut hanging = pin!(wrap(&desk, &token));
    let seen = desk
        .cloud
        .wait_for_call(|call| call.is(HOST, "wrapkey"), Duration::from_secs(20));
    let seen = tokio::select! {
        answer = &mut hanging => panic!("{answer:?}"),
        seen = seen => seen.unwrap(),
    };
    assert_eq!(seen.status, 0);
    let answer = tokio::time::timeout(Duration::from_millis(300), hanging).await;
    assert!(answer.is_err());
    let never = desk
        .cloud
        .wait_for_call(|call| call.status == 418, Duration::from_millis(50))
        .await;
    assert!(never.is_err());
}

#[tokio::test]
async fn wrong_answers() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let version = desk.key.version();
    let (_, right) = desk.wrap(&token).await;
    let wrapped = right["value"].as_str().unwrap();
    let plain = desk.unwrap(&token, &version, wrapped).await.1["value"].clone();
    desk.cloud
        .fault(Fault::on(HOST, Effect::WrongUnwrap).operation("unwrapkey"));
    let (status, body) = desk.unwrap(&token, &version, wrapped).await;
    assert_eq!(status, 200);
    assert_ne!(body["value"], plain);
    assert_eq!(
        body["value"].as_str().unwrap().len(),
        plain.as_str().unwrap().len()
    );
    desk.cloud.fault(on_wrap(Effect::OtherVersion));
    let kid = desk.wrap(&token).await.1["kid"].clone();
    assert_ne!(kid, right["kid"]);
    assert!(kid.as_str().unwrap().starts_with(&desk.key.url()));
    desk.cloud.fault(on_wrap(Effect::Merge(
        json!({ "kid": "https://evil.example/keys/x/y", "more": 1 }),
    )));
    let body = desk.wrap(&token).await.1;
    assert_eq!(
        (&body["kid"], &body["more"]),
        (&json!("https://evil.example/keys/x/y"), &json!(1))
    );
    assert!(body["value"].is_string(), "the rest is the true answer");
    let bytes = b"\0not json".to_vec();
    desk.cloud.fault(on_wrap(Effect::Body {
        content_type: "application/json".to_owned(),
        bytes: bytes.clone(),
    }));
    assert_eq!(
        wrap(&desk, &token).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    desk.cloud.fault(on_wrap(Effect::BigBody(10 << 20)));
    assert!(
        wrap(&desk, &token)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .len()
            > 10 << 20
    );
    desk.cloud.fault(on_wrap(Effect::Redirect(
        "https://evil.example/".to_owned(),
    )));
    let response = wrap(&desk, &token).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (307, &"https://evil.example/".parse().unwrap())
    );
    desk.cloud.clear_faults();
    desk.vault.revoke(desk.app.principal());
    desk.cloud
        .fault(on_wrap(Effect::Merge(json!({ "kid": "x" }))));
    let answer = desk.wrap(&token).await;
    refused(&answer, 403, "Forbidden", "ForbiddenByRbac");
    assert!(answer.1.get("kid").is_none(), "a refusal stays as it is");
}

#[tokio::test]
async fn faults_of_the_proxy_itself() {
    let desk = Desk::new().await;
    let connect = |effect| Fault::on(HOST, effect).operation("connect");
    let url = || format!("https://{HOST}/keys/tenant-wrapping-key");
    let page = Effect::Status {
        status: 403,
        body: "no".to_owned(),
        retry_after: None,
        headers: Vec::new(),
    };
    for effect in [page, Effect::Reset, Effect::UntrustedCertificate] {
        let id = desk.cloud.fault(connect(effect.clone()));
        let error = client(&desk.cloud).get(url()).send().await.unwrap_err();
        assert!(error.is_connect(), "{effect:?}: {error:?}");
        desk.cloud.clear_fault(id);
    }
    assert_eq!(desk.cloud.count(HOST, "connect"), 3);
    desk.cloud.fault(Fault::on("*", Effect::status(500)));
    assert_eq!(
        client(&desk.cloud)
            .get(url())
            .send()
            .await
            .unwrap()
            .status(),
        500,
        "connect is only hit by its name"
    );
}
