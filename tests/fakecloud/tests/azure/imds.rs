//! IMDS: how to ask, which identity is meant, and the machine that has none.

use std::time::Duration;

use fakecloud::{IMDS_HOST, Scope};
use serde_json::Value;

use crate::desk::{CLIENT, Desk, Said, said};

const ASK: &str = "api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";
const OBJECT: &str = "22223333-4444-5555-6666-777788889999";
const RESOURCE: &str = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";

async fn ask(desk: &Desk, query: &str) -> Said {
    said(
        desk.imds(query)
            .header("Metadata", "true")
            .send()
            .await
            .unwrap(),
    )
    .await
}

#[track_caller]
fn refused(said: &Said, text: &str) {
    let description = said.1["error_description"].as_str();
    assert_eq!(
        (said.0, said.1["error"].as_str(), description),
        (400, Some("invalid_request"), Some(text))
    );
}

#[tokio::test]
async fn the_system_identity() {
    let desk = Desk::new().await;
    refused(&ask(&desk, ASK).await, "Identity not found");
    let principal = desk.cloud.imds().system_assigned(&desk.dir);
    let (status, body) = ask(&desk, ASK).await;
    assert_eq!(status, 200, "{body}");
    for name in ["expires_in", "expires_on", "not_before"] {
        assert!(
            body[name].as_str().unwrap().parse::<u64>().is_ok(),
            "{name} is a string of digits"
        );
    }
    assert_eq!(
        (body["token_type"].as_str(), body["resource"].as_str()),
        (Some("Bearer"), Some("https://vault.azure.net"))
    );
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(desk.wrap(token).await.0, 403);
    desk.vault.grant(&principal, Scope::Vault);
    assert_eq!(desk.wrap(token).await.0, 200);
    let calls = desk.cloud.calls();
    assert_eq!(calls[1].host, IMDS_HOST);
    assert_eq!(
        (calls[1].operation.as_str(), calls[1].principal.as_ref()),
        ("imds-token", Some(&principal))
    );
    desk.cloud.imds().remove_identities();
    refused(&ask(&desk, ASK).await, "Identity not found");
    assert_eq!(
        desk.wrap(token).await.0,
        200,
        "a token already issued keeps working"
    );
}

#[tokio::test]
async fn user_identities_by_each_of_their_names() {
    let desk = Desk::new().await;
    let imds = desk.cloud.imds();
    imds.user_assigned(&desk.dir, CLIENT, OBJECT, RESOURCE);
    assert_eq!(
        ask(&desk, ASK).await.1["client_id"],
        CLIENT,
        "the only one there is need not be named"
    );
    let other = "33334444-5555-6666-7777-888899990000";
    imds.user_assigned(&desk.dir, other, other, "/other");
    let several = "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity \
                   in the token request";
    refused(&ask(&desk, ASK).await, several);
    for name in [
        format!("client_id={CLIENT}"),
        format!("object_id={OBJECT}"),
        format!("msi_res_id={RESOURCE}"),
    ] {
        let (status, body) = ask(&desk, &format!("{ASK}&{name}")).await;
        assert_eq!(
            (status, body["client_id"].as_str()),
            (200, Some(CLIENT)),
            "{name}: {body}"
        );
    }
    for name in ["client_id", "object_id", "msi_res_id"] {
        refused(
            &ask(&desk, &format!("{ASK}&{name}=nobody")).await,
            "Identity not found",
        );
    }
    imds.system_assigned(&desk.dir);
    assert_eq!(
        ask(&desk, ASK).await.0,
        200,
        "unnamed it is the system identity"
    );
}

#[tokio::test]
async fn how_to_ask() {
    let desk = Desk::new().await;
    desk.cloud.imds().system_assigned(&desk.dir);
    let bare = said(desk.imds(ASK).send().await.unwrap()).await;
    refused(&bare, "Required metadata header not specified");
    let other = desk.imds(ASK).header("Metadata", "false").send();
    let other = said(other.await.unwrap()).await;
    refused(&other, "Required metadata header not specified");
    let forwarded = desk
        .imds(ASK)
        .header("Metadata", "true")
        .header("X-Forwarded-For", "10.0.0.1");
    refused(
        &said(forwarded.send().await.unwrap()).await,
        "Request contains the X-Forwarded-For header",
    );
    let resource = "resource=https%3A%2F%2Fvault.azure.net";
    refused(
        &ask(&desk, resource).await,
        "Required query variable 'api-version' is missing",
    );
    refused(
        &ask(&desk, &format!("api-version=1&{resource}")).await,
        "The requested api-version is not supported",
    );
    refused(
        &ask(&desk, "api-version=2018-02-01").await,
        "Required audience parameter not specified",
    );
    let (status, body) = ask(
        &desk,
        "api-version=2018-02-01&resource=https://management.azure.com",
    )
    .await;
    assert_eq!(
        (status, body["error"].as_str()),
        (400, Some("invalid_resource"))
    );
    let url = desk.imds(ASK).build().unwrap().url().clone();
    let post = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(url.clone())
        .header("Metadata", "true");
    assert_eq!(post.send().await.unwrap().status(), 405);
    let mut elsewhere = url;
    elsewhere.set_path("/metadata/instance");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(elsewhere).send().await.unwrap().status(), 404);
    assert_eq!(ask(&desk, ASK).await.0, 200);
}

#[tokio::test]
async fn absent_means_that_nothing_listens() {
    let desk = Desk::new().await;
    let imds = desk.cloud.imds();
    imds.system_assigned(&desk.dir);
    let url = desk.cloud.imds_url();
    for _ in 0..3 {
        assert_eq!(ask(&desk, ASK).await.0, 200);
        imds.absent(true);
        imds.absent(true);
        let error = desk
            .imds(ASK)
            .header("Metadata", "true")
            .send()
            .await
            .unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        imds.absent(false);
        imds.absent(false);
        assert_eq!(desk.cloud.imds_url(), url);
    }
    let within = Duration::from_secs(5);
    let seen = desk
        .cloud
        .wait_for_call(|call| call.is(IMDS_HOST, "imds-token"), within)
        .await
        .unwrap();
    assert_eq!(seen.status, 200);
    let body: Value = ask(&desk, ASK).await.1;
    assert!(body["access_token"].is_string());
}
