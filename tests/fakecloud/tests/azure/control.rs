//! The control API: the same cloud, changed over HTTP.

use reqwest::Client;
use serde_json::{Value, json};

use crate::desk::{CLIENT, Desk, HOST, Said, TENANT, refused, said};

async fn command(desk: &Desk, command: Value) -> Said {
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/commands", desk.cloud.control_url());
    said(client.post(url).json(&command).send().await.unwrap()).await
}

async fn get(desk: &Desk, path: &str) -> Value {
    let client = Client::builder().no_proxy().build().unwrap();
    said(
        client
            .get(format!("{}{path}", desk.cloud.control_url()))
            .send()
            .await
            .unwrap(),
    )
    .await
    .1
}

#[tokio::test]
async fn commands_change_what_the_library_changes() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let principal = desk.app.principal();
    let opened = json!({ "on": "application", "tenant": TENANT, "client": CLIENT, "do": "open" });
    assert_eq!(
        command(&desk, opened).await,
        (200, json!({ "principal": principal }))
    );
    let vault = |change: Value| merged(json!({ "on": "vault", "name": "acme-kv" }), change);
    let key = |change: Value| {
        merged(
            json!({ "on": "key", "vault": "acme-kv", "name": "tenant-wrapping-key" }),
            change,
        )
    };
    assert_eq!(
        command(
            &desk,
            vault(json!({ "do": "revoke", "principal": principal }))
        )
        .await
        .0,
        200
    );
    refused(
        &desk.wrap(&token).await,
        403,
        "Forbidden",
        "ForbiddenByRbac",
    );
    let grant = json!({ "do": "grant", "principal": principal, "permissions": ["wrap"] });
    assert_eq!(command(&desk, vault(grant)).await.0, 200);
    assert_eq!(desk.wrap(&token).await.0, 200);
    assert_eq!(desk.get(&token, "tenant-wrapping-key").await.0, 403);
    command(&desk, key(json!({ "do": "disable" }))).await;
    refused(&desk.wrap(&token).await, 403, "Forbidden", "KeyDisabled");
    let (_, body) = command(&desk, key(json!({ "do": "new-version" }))).await;
    assert_eq!(
        body,
        json!({ "url": desk.key.url(), "version": desk.key.version() })
    );
    assert_eq!(desk.wrap(&token).await.0, 200);
    let many = json!([
        vault(json!({ "do": "firewall", "enabled": true })),
        vault(json!({ "do": "firewall", "enabled": false }))
    ]);
    assert_eq!(command(&desk, many).await, (200, json!([{}, {}])));
}

#[tokio::test]
async fn faults_and_the_ledger() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let fault = json!({ "host": HOST, "operation": "wrapkey", "times": 1,
                        "effect": { "kind": "status", "status": 429, "retry_after": "3" } });
    let (status, body) = command(
        &desk,
        json!({ "on": "cloud", "do": "fault", "fault": fault }),
    )
    .await;
    assert_eq!((status, body["id"].is_u64()), (200, true), "{body}");
    refused(&desk.wrap(&token).await, 429, "Throttled", "");
    assert_eq!(desk.wrap(&token).await.0, 200);
    assert_eq!(
        get(&desk, &format!("/count?host={HOST}&operation=wrapkey")).await,
        2
    );
    assert_eq!(get(&desk, "/count").await, 3);
    let calls = get(&desk, "/calls").await;
    assert_eq!(
        (&calls[1]["operation"], &calls[1]["status"]),
        (&json!("wrapkey"), &json!(429))
    );
    assert!(
        get(&desk, "/issued")
            .await
            .as_array()
            .unwrap()
            .contains(&json!(token))
    );
    let client = Client::builder().no_proxy().build().unwrap();
    client
        .delete(format!("{}/calls", desk.cloud.control_url()))
        .send()
        .await
        .unwrap();
    assert_eq!(get(&desk, "/count").await, 0);
}

#[tokio::test]
async fn a_command_that_is_none() {
    let desk = Desk::new().await;
    for wrong in [
        json!({ "on": "moon", "do": "open" }),
        json!({ "on": "vault", "name": "acme-kv", "do": "explode" }),
        json!({ "on": "vault", "name": "missing", "do": "delete" }),
        json!({ "on": "cloud", "do": "fault", "fault": { "effect": { "kind": "redirect", "more": 1 } } }),
    ] {
        let (status, body) = command(&desk, wrong.clone()).await;
        assert_eq!((status, body["error"].is_string()), (400, true), "{wrong}");
    }
}

fn merged(mut one: Value, two: Value) -> Value {
    let (Some(fields), Value::Object(more)) = (one.as_object_mut(), two) else {
        panic!("two objects")
    };
    fields.extend(more);
    one
}
