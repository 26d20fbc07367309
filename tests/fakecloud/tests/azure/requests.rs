//! Key Vault: what a request must look like.

use serde_json::{Value, json};

use crate::desk::{Desk, HOST, refused, said, wrap_body};

#[tokio::test]
async fn wrap_and_unwrap_with_and_without_a_version() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let version = desk.key.version();
    let kid = format!("{}/{version}", desk.key.url());
    for path in [
        "tenant-wrapping-key//wrapkey",
        "tenant-wrapping-key/wrapkey",
        "TENANT-wrapping-key//wrapKey",
    ] {
        let (status, body) = desk.post(&token, path, wrap_body(b"plain")).await;
        assert_eq!(
            (status, body["kid"].as_str()),
            (200, Some(kid.as_str())),
            "{path}: {body}"
        );
        let (status, body) = desk
            .unwrap(&token, &version, body["value"].as_str().unwrap())
            .await;
        assert_eq!(
            (status, &body["value"]),
            (200, &wrap_body(b"plain")["value"])
        );
        assert_eq!(body["kid"], kid);
    }
    assert_eq!(
        (
            desk.cloud.count(HOST, "wrapkey"),
            desk.cloud.count(HOST, "unwrapkey")
        ),
        (3, 3)
    );
    let call = desk
        .cloud
        .calls()
        .into_iter()
        .find(|call| call.operation == "wrapkey")
        .unwrap();
    assert_eq!(call.path, "/keys/tenant-wrapping-key//wrapkey");
    assert_eq!(
        (call.principal, call.status),
        (Some(desk.app.principal()), 200)
    );
}

#[tokio::test]
async fn the_headers_that_clients_read() {
    let desk = Desk::new().await;
    let url = format!("https://{HOST}/keys/tenant-wrapping-key?api-version=7.6");
    let request = desk.http.get(url).bearer_auth(desk.token().await);
    let response = request
        .header("x-ms-client-request-id", "mine")
        .send()
        .await
        .unwrap();
    let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(header("x-ms-client-request-id"), "mine");
    assert_eq!(header("x-ms-keyvault-region"), "westeurope");
    assert_eq!(header("content-type"), "application/json; charset=utf-8");
    let calls = desk.cloud.calls();
    assert_eq!(
        Some(header("x-ms-request-id")),
        calls.last().unwrap().request_id.as_deref()
    );
}

#[tokio::test]
async fn the_query_method_and_media_type() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let ask = async |method: &str, query: &str, kind: &str| {
        let url = format!("https://{HOST}/keys/tenant-wrapping-key//wrapkey{query}");
        let request = desk
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(&token);
        let body = wrap_body(b"x").to_string();
        said(
            request
                .header("content-type", kind)
                .body(body)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let json = "application/json";
    assert_eq!(ask("POST", "?api-version=7.4", json).await.0, 200);
    refused(&ask("POST", "", json).await, 400, "BadParameter", "");
    refused(
        &ask("POST", "?api-version=1.0", json).await,
        400,
        "BadParameter",
        "",
    );
    refused(
        &ask("PUT", "?api-version=7.4", json).await,
        405,
        "MethodNotAllowed",
        "",
    );
    refused(
        &ask("POST", "?api-version=7.4", "text/plain").await,
        415,
        "UnsupportedMediaType",
        "",
    );
}

#[tokio::test]
async fn the_body() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let path = "tenant-wrapping-key//wrapkey";
    let good = wrap_body(b"x")["value"].clone();
    let table = [
        ("no object", json!([])),
        ("no algorithm", json!({ "value": good })),
        ("no value", json!({ "alg": "RSA-OAEP-256" })),
        ("SHA-1", json!({ "alg": "RSA-OAEP", "value": good })),
        ("PKCS 1.5", json!({ "alg": "RSA1_5", "value": good })),
        ("unknown", json!({ "alg": "A256KW", "value": good })),
        ("padding", json!({ "alg": "RSA-OAEP-256", "value": "eA==" })),
        (
            "plain base64",
            json!({ "alg": "RSA-OAEP-256", "value": "+/+/" }),
        ),
    ];
    for (name, body) in table {
        let answer = desk.post(&token, path, body).await;
        refused(&answer, 400, "BadParameter", "");
        assert_eq!(
            answer.1["error"]["message"], "Property has invalid value\r\n",
            "{name}"
        );
    }
    let long = wrap_body(&[0; 191]);
    let answer = desk.post(&token, path, long).await;
    refused(&answer, 400, "BadParameter", "");
    assert_eq!(desk.post(&token, path, wrap_body(&[0; 190])).await.0, 200);
}

#[tokio::test]
async fn what_was_not_wrapped_here_is_incorrect() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let (_, body) = desk.wrap(&token).await;
    let first = desk.key.version();
    let wrapped = body["value"].as_str().unwrap().to_owned();
    let second = desk.key.new_version();
    let other = if wrapped.starts_with('A') { "B" } else { "A" };
    let table = [
        ("another version", second.as_str(), wrapped.clone()),
        ("the current version", "", wrapped.clone()),
        (
            "changed",
            first.as_str(),
            format!("{other}{}", &wrapped[1..]),
        ),
        ("cut", first.as_str(), wrapped[..200].to_owned()),
        ("empty", first.as_str(), String::new()),
    ];
    for (name, version, value) in table {
        let answer = desk.unwrap(&token, version, &value).await;
        refused(&answer, 400, "BadParameter", "");
        assert_eq!(
            answer.1["error"]["message"], "The parameter is incorrect.\r\n",
            "{name}"
        );
    }
    assert_eq!(desk.unwrap(&token, &first, &wrapped).await.0, 200);
}

#[tokio::test]
async fn names_and_operations_that_are_none() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let absent = "0123456789abcdef0123456789abcdef";
    for path in [
        "missing//wrapkey".to_owned(),
        format!("tenant-wrapping-key/{absent}/wrapkey"),
    ] {
        let answer = desk.post(&token, &path, wrap_body(b"x")).await;
        refused(&answer, 404, "KeyNotFound", "");
        let text = answer.1["error"]["message"].as_str().unwrap();
        assert!(
            text.contains("was not found in this key vault. If you recently deleted this key"),
            "{text}"
        );
    }
    for path in [
        "a_b//wrapkey",
        "a%2Fb//wrapkey",
        "a.b//wrapkey",
        "/x/wrapkey",
    ] {
        refused(
            &desk.post(&token, path, wrap_body(b"x")).await,
            400,
            "BadParameter",
            "",
        );
    }
    let long = format!("{}//wrapkey", "a".repeat(128));
    refused(
        &desk.post(&token, &long, wrap_body(b"x")).await,
        400,
        "BadParameter",
        "",
    );
    for path in [
        "tenant-wrapping-key//encrypt",
        "tenant-wrapping-key/a/b/wrapkey",
    ] {
        refused(
            &desk.post(&token, path, wrap_body(b"x")).await,
            404,
            "NotFound",
            "",
        );
    }
    let url = format!("https://{HOST}/secrets/x?api-version=7.6");
    refused(
        &said(desk.http.get(url).bearer_auth(&token).send().await.unwrap()).await,
        404,
        "NotFound",
        "",
    );
}

#[tokio::test]
async fn a_key_as_it_is_described() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let version = desk.key.version();
    let (status, body) = desk.get(&token, "tenant-wrapping-key").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["key"]["kid"], format!("{}/{version}", desk.key.url()));
    assert_eq!(
        (&body["key"]["kty"], &body["key"]["e"]),
        (&json!("RSA"), &json!("AQAB"))
    );
    assert_eq!(body["key"]["n"].as_str().unwrap().len(), 342, "2048 bits");
    assert_eq!(body["attributes"]["enabled"], true);
    assert_eq!(body["attributes"]["recoveryLevel"], "Recoverable+Purgeable");
    assert_eq!(body["attributes"].get("exp"), None::<&Value>);
    desk.vault.purge_protection(true);
    desk.key.set_expires(Some(4_000_000_000));
    desk.key.set_not_before(Some(3_000_000_000));
    desk.key.disable();
    for path in [
        "tenant-wrapping-key/".to_owned(),
        format!("tenant-wrapping-key/{version}"),
    ] {
        let (status, body) = desk.get(&token, &path).await;
        assert_eq!(status, 200, "a disabled key can still be read: {body}");
        let attributes = &body["attributes"];
        assert_eq!(
            (&attributes["enabled"], &attributes["recoveryLevel"]),
            (&json!(false), &json!("Recoverable"))
        );
        assert_eq!(
            (&attributes["exp"], &attributes["nbf"]),
            (&json!(4_000_000_000_i64), &json!(3_000_000_000_i64))
        );
    }
    refused(&desk.get(&token, "missing").await, 404, "KeyNotFound", "");
}
