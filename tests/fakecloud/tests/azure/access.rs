//! Key Vault: who may. Tokens, the permission models, the firewall.

use std::time::{SystemTime, UNIX_EPOCH};

use fakecloud::{Permission, Scope};
use serde_json::{Value, json};

use crate::desk::{CLIENT, Desk, HOST, Said, TENANT, codes, refused, said, wrap_body};

const RESOURCE: &str = "https://vault.azure.net";

fn claims(desk: &Desk, change: impl FnOnce(&mut Value)) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut claims = json!({
        "aud": RESOURCE,
        "iss": format!("https://sts.windows.net/{TENANT}/"),
        "nbf": now - 10,
        "exp": now + 600,
        "appid": CLIENT,
        "oid": desk.app.principal(),
        "tid": TENANT,
    });
    change(&mut claims);
    desk.cloud.sign_token(&claims)
}

fn message(said: &Said) -> &str {
    said.1["error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn no_token_is_a_challenge() {
    let desk = Desk::new().await;
    let url = format!("https://{HOST}/keys/tenant-wrapping-key//wrapkey?api-version=7.6");
    let response = desk.http.post(url).send().await.unwrap();
    let header = response.headers()["www-authenticate"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        header,
        format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"{RESOURCE}\""
        )
    );
    let answer = said(response).await;
    refused(&answer, 401, "Unauthorized", "");
    assert!(message(&answer).starts_with("AKV10000"));
    assert_eq!(desk.cloud.count(HOST, "challenge"), 1);
    assert_eq!(desk.cloud.count(HOST, "wrapkey"), 0);
}

#[tokio::test]
async fn a_token_is_checked_whole() {
    let desk = Desk::new().await;
    assert_eq!(
        desk.wrap(&claims(&desk, |_| ())).await.0,
        200,
        "the pattern itself is good"
    );
    let slash = claims(&desk, |claims| {
        claims["aud"] = format!("{RESOURCE}/").into();
    });
    assert_eq!(desk.wrap(&slash).await.0, 200);
    let other = fakecloud::FakeCloud::start().await.unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let whole = claims(&desk, |_| ());
    let (head, signature) = whole.rsplit_once('.').unwrap();
    let table = [
        ("not a token", "rubbish".to_owned(), "AKV10003"),
        (
            "another cloud's key",
            other.sign_token(&json!({ "aud": RESOURCE })),
            "AKV10046",
        ),
        (
            "forged",
            format!(
                "{}.eyJhdWQiOiJ4In0.{signature}",
                head.split_once('.').unwrap().0
            ),
            "AKV10047",
        ),
        (
            "expired",
            claims(&desk, |claims| claims["exp"] = (now - 1).into()),
            "[TokenExpired]",
        ),
        (
            "no end",
            claims(&desk, |claims| claims["exp"] = Value::Null),
            "[TokenExpired]",
        ),
        (
            "not yet valid",
            claims(&desk, |claims| claims["nbf"] = (now + 60).into()),
            "[TokenExpired]",
        ),
        (
            "audience",
            claims(&desk, |claims| {
                claims["aud"] = "https://management.azure.com".into();
            }),
            "AKV10022",
        ),
        (
            "issuer",
            claims(&desk, |claims| {
                claims["iss"] = "https://sts.windows.net/other/".into();
            }),
            "AKV10032",
        ),
    ];
    for (name, token, code) in table {
        let answer = desk.wrap(&token).await;
        refused(&answer, 401, "Unauthorized", "");
        assert!(message(&answer).starts_with(code), "{name}: {}", answer.1);
    }
    assert_eq!(
        desk.cloud.count(HOST, "challenge"),
        0,
        "a bad token is not a missing one"
    );
}

#[tokio::test]
async fn another_directory_is_another_issuer() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let theirs = desk.cloud.directory("99998888-7777-6666-5555-444433332222");
    let vault = desk.cloud.vault("theirs", &theirs);
    vault.create_key("tenant-wrapping-key");
    vault.grant(desk.app.principal(), Scope::Vault);
    let url = format!(
        "{}/keys/tenant-wrapping-key//wrapkey?api-version=7.6",
        vault.url()
    );
    let response = desk
        .http
        .post(url)
        .bearer_auth(token)
        .json(&wrap_body(b"x"))
        .send()
        .await
        .unwrap();
    let header = response.headers()["www-authenticate"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        header.contains("99998888-7777-6666-5555-444433332222"),
        "{header}"
    );
    assert!(message(&said(response).await).starts_with("AKV10032"));
}

#[tokio::test]
async fn rbac_on_vault_and_on_key() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    assert_eq!(desk.wrap(&token).await.0, 200);
    desk.vault.revoke(desk.app.principal());
    let answer = desk.wrap(&token).await;
    refused(&answer, 403, "Forbidden", "ForbiddenByRbac");
    for part in [
        "Caller is not authorized to perform action on resource.",
        "Action: 'Microsoft.KeyVault/vaults/keys/wrap/action'",
        "Assignment: (not found)",
        CLIENT,
    ] {
        assert!(message(&answer).contains(part), "{}", answer.1);
    }
    desk.vault
        .grant(desk.app.principal(), Scope::Key("another-key"));
    refused(
        &desk.wrap(&token).await,
        403,
        "Forbidden",
        "ForbiddenByRbac",
    );
    desk.vault
        .grant(desk.app.principal(), Scope::Key("tenant-wrapping-key"));
    assert_eq!(desk.wrap(&token).await.0, 200);
    refused(
        &desk.get(&token, "third").await,
        403,
        "Forbidden",
        "ForbiddenByRbac",
    );
    desk.vault.grant("someone-else", Scope::Vault);
    desk.vault.revoke(desk.app.principal());
    refused(
        &desk.wrap(&token).await,
        403,
        "Forbidden",
        "ForbiddenByRbac",
    );
}

#[tokio::test]
async fn each_permission_is_one() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let version = desk.key.version();
    let (_, wrapped) = desk.wrap(&token).await;
    let wrapped = wrapped["value"].as_str().unwrap();
    for only in Permission::ROLE {
        desk.vault.revoke(desk.app.principal());
        desk.vault
            .grant_only(desk.app.principal(), Scope::Vault, &[only]);
        let said = [
            (
                Permission::Get,
                desk.get(&token, "tenant-wrapping-key").await,
            ),
            (Permission::Wrap, desk.wrap(&token).await),
            (
                Permission::Unwrap,
                desk.unwrap(&token, &version, wrapped).await,
            ),
        ];
        for (asked, (status, body)) in said {
            assert_eq!(
                status,
                if asked == only { 200 } else { 403 },
                "{asked:?} with {only:?}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn access_policies() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.vault.use_access_policies(true);
    assert_eq!(desk.wrap(&token).await.0, 200);
    desk.vault.revoke(desk.app.principal());
    let answer = desk.wrap(&token).await;
    refused(&answer, 403, "Forbidden", "ForbiddenByPolicy");
    assert!(
        message(&answer)
            .contains("does not have keys wrapKey permission on key vault 'acme-kv;location=")
    );
    desk.vault
        .grant(desk.app.principal(), Scope::Key("tenant-wrapping-key"));
    refused(
        &desk.wrap(&token).await,
        403,
        "Forbidden",
        "ForbiddenByPolicy",
    );
    desk.vault.use_access_policies(false);
    assert_eq!(
        desk.wrap(&token).await.0,
        200,
        "as a role on the key the same grant counts"
    );
}

#[tokio::test]
async fn the_firewall_refuses_whoever_it_is() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.vault.firewall(true);
    refused(
        &desk.wrap(&token).await,
        403,
        "Forbidden",
        "ForbiddenByFirewall",
    );
    desk.vault.firewall(false);
    let answer = desk.wrap(&token).await;
    assert_eq!((answer.0, codes(&answer.1)), (200, ("", "")));
}
