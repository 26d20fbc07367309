//! Key Vault: the states of a key, and what each still allows.

use fakecloud::{Key, KeyOptions};

use crate::desk::{Desk, refused, wrap_body};

/// Something wrapped by the key as it is now, and where.
struct Wrapped {
    version: String,
    value: String,
}

async fn wrapped(desk: &Desk, token: &str) -> Wrapped {
    let (status, body) = desk.wrap(token).await;
    assert_eq!(status, 200, "{body}");
    let kid = body["kid"].as_str().unwrap();
    let version = kid.rsplit_once('/').unwrap().1.to_owned();
    Wrapped {
        version,
        value: body["value"].as_str().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn disabled_refuses_both() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let before = wrapped(&desk, &token).await;
    desk.key.disable();
    refused(&desk.wrap(&token).await, 403, "Forbidden", "KeyDisabled");
    refused(
        &desk.unwrap(&token, &before.version, &before.value).await,
        403,
        "Forbidden",
        "KeyDisabled",
    );
    desk.key.enable();
    assert_eq!(desk.wrap(&token).await.0, 200);
    assert_eq!(
        desk.unwrap(&token, &before.version, &before.value).await.0,
        200
    );
}

#[tokio::test]
async fn a_disabled_version_refuses_alone() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let before = wrapped(&desk, &token).await;
    let second = desk.key.new_version();
    assert_eq!(
        desk.key.versions(),
        [before.version.clone(), second.clone()]
    );
    assert_eq!(
        wrapped(&desk, &token).await.version,
        second,
        "without a version the current one wraps"
    );
    desk.key.disable_version(&before.version);
    refused(
        &desk.unwrap(&token, &before.version, &before.value).await,
        403,
        "Forbidden",
        "KeyDisabled",
    );
    assert_eq!(desk.wrap(&token).await.0, 200);
    desk.key.disable_version(&second);
    refused(&desk.wrap(&token).await, 403, "Forbidden", "KeyDisabled");
    desk.key.enable_version(&before.version);
    assert_eq!(
        desk.unwrap(&token, &before.version, &before.value).await.0,
        200
    );
}

#[tokio::test]
async fn dates_refuse_wrap_and_allow_unwrap() {
    type Change = fn(&Key, Option<i64>);
    let changes: [(Change, i64, &str); 2] = [
        (Key::set_expires, 1_000_000_000, "KeyExpired"),
        (Key::set_not_before, 4_000_000_000, "KeyNotYetValid"),
    ];
    let desk = Desk::new().await;
    let token = desk.token().await;
    let before = wrapped(&desk, &token).await;
    for (change, at, code) in changes {
        change(&desk.key, Some(at));
        refused(&desk.wrap(&token).await, 403, "Forbidden", code);
        assert_eq!(
            desk.unwrap(&token, &before.version, &before.value).await.0,
            200
        );
        change(&desk.key, None);
        assert_eq!(desk.wrap(&token).await.0, 200);
    }
    desk.key.set_expires(Some(4_000_000_000));
    desk.key.set_not_before(Some(1_000_000_000));
    assert_eq!(
        desk.wrap(&token).await.0,
        200,
        "within its dates it is as any other"
    );
}

#[tokio::test]
async fn operations_are_permitted_one_by_one() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let before = wrapped(&desk, &token).await;
    desk.key.set_ops(&["encrypt", "decrypt"]);
    refused(
        &desk.wrap(&token).await,
        403,
        "Forbidden",
        "KeyOperationForbidden",
    );
    let answer = desk.unwrap(&token, &before.version, &before.value).await;
    refused(&answer, 403, "Forbidden", "KeyOperationForbidden");
    assert_eq!(
        answer.1["error"]["message"],
        "Operation unwrapKey is not permitted on this key."
    );
    desk.key.set_ops(&["unwrapKey"]);
    refused(
        &desk.wrap(&token).await,
        403,
        "Forbidden",
        "KeyOperationForbidden",
    );
    assert_eq!(
        desk.unwrap(&token, &before.version, &before.value).await.0,
        200
    );
    let made = KeyOptions {
        ops: vec!["sign", "verify"],
        ..KeyOptions::default()
    };
    desk.vault.create_key_with("for-signing", made);
    let answer = desk
        .post(&token, "for-signing//wrapkey", wrap_body(b"x"))
        .await;
    refused(&answer, 403, "Forbidden", "KeyOperationForbidden");
}

#[tokio::test]
async fn deleted_recovered_purged() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let before = wrapped(&desk, &token).await;
    desk.key.delete();
    refused(&desk.wrap(&token).await, 404, "KeyNotFound", "");
    refused(
        &desk.unwrap(&token, &before.version, &before.value).await,
        404,
        "KeyNotFound",
        "",
    );
    refused(
        &desk.get(&token, "tenant-wrapping-key").await,
        404,
        "KeyNotFound",
        "",
    );
    desk.key.recover();
    assert_eq!(
        desk.unwrap(&token, &before.version, &before.value).await.0,
        200
    );
    desk.key.purge();
    refused(&desk.wrap(&token).await, 404, "KeyNotFound", "");
    let again = desk.vault.create_key("tenant-wrapping-key");
    assert_ne!(again.version(), before.version);
    refused(
        &desk.unwrap(&token, &before.version, &before.value).await,
        404,
        "KeyNotFound",
        "",
    );
    refused(
        &desk.unwrap(&token, &again.version(), &before.value).await,
        400,
        "BadParameter",
        "",
    );
}

#[tokio::test]
async fn keys_of_other_kinds_and_sizes() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.vault.create_key_with(
        "curve",
        KeyOptions {
            ec: true,
            ..KeyOptions::default()
        },
    );
    let answer = desk.post(&token, "curve//wrapkey", wrap_body(b"x")).await;
    refused(&answer, 400, "BadParameter", "");
    assert!(
        answer.1["error"]["message"]
            .as_str()
            .unwrap()
            .contains("is of type 'EC'")
    );
    let (_, body) = desk.get(&token, "curve").await;
    assert_eq!(
        (body["key"]["kty"].as_str(), body["key"]["crv"].as_str()),
        (Some("EC"), Some("P-256"))
    );
    for (bits, encoded) in [(1024, 171), (3072, 512)] {
        let name = format!("rsa{bits}");
        desk.vault.create_key_with(
            &name,
            KeyOptions {
                kty_bits: bits,
                ..KeyOptions::default()
            },
        );
        let (status, body) = desk
            .post(&token, &format!("{name}//wrapkey"), wrap_body(b"plain"))
            .await;
        assert_eq!(
            (status, body["value"].as_str().unwrap().len()),
            (200, encoded)
        );
        let body = serde_json::json!({ "alg": "RSA-OAEP-256", "value": body["value"] });
        let path = format!("{name}//unwrapkey");
        let (_, body) = desk.post(&token, &path, body).await;
        assert_eq!(body["value"], wrap_body(b"plain")["value"]);
    }
    let small = desk.get(&token, "rsa1024").await.1;
    assert_eq!(small["key"]["n"].as_str().unwrap().len(), 171);
}

#[tokio::test]
async fn creating_a_key_twice_is_creating_it_once() {
    let desk = Desk::new().await;
    let version = desk.key.version();
    assert_eq!(
        desk.vault.create_key("tenant-wrapping-key").version(),
        version
    );
    assert_eq!(desk.vault.key("Tenant-Wrapping-Key").version(), version);
    assert_eq!(
        desk.cloud
            .vault("ACME-kv", &desk.dir)
            .key("tenant-wrapping-key")
            .version(),
        version
    );
}

#[tokio::test]
async fn a_deleted_vault_is_no_host() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    assert_eq!(desk.wrap(&token).await.0, 200);
    desk.vault.delete();
    let fresh = crate::desk::client(&desk.cloud);
    assert!(fresh.get(desk.key.url()).send().await.is_err());
    assert_eq!(desk.cloud.count(crate::desk::HOST, "connect-refused"), 1);
    desk.vault.recover();
    assert_eq!(
        fresh.get(desk.key.url()).send().await.unwrap().status(),
        401
    );
}
