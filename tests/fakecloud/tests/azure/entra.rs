//! Entra: what makes a token, and each thing that does not.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::desk::{CLIENT, Desk, SECRET, TENANT, aadsts, login, said};

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_secret_makes_a_vault_token() {
    let desk = Desk::new().await;
    let (status, body) = desk.secret_login(SECRET).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        (body["token_type"].as_str(), body["expires_in"].as_u64()),
        (Some("Bearer"), Some(3599))
    );
    let claims = claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], "https://vault.azure.net");
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{TENANT}/"));
    assert_eq!(
        (claims["tid"].as_str(), claims["appid"].as_str()),
        (Some(TENANT), Some(CLIENT))
    );
    assert_eq!(claims["oid"].as_str(), Some(desk.app.principal().as_str()));
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3599
    );
    let call = &desk.cloud.calls()[0];
    assert_eq!((call.operation.as_str(), call.status), ("token", 200));
    assert_eq!(call.principal, Some(desk.app.principal()));
    assert_eq!(
        (call.tenant.as_deref(), call.app.as_deref()),
        (Some(TENANT), Some(CLIENT))
    );
    assert!(call.request_id.is_some());
}

#[tokio::test]
async fn a_secret_that_is_not_one() {
    let desk = Desk::new().await;
    aadsts(
        &desk.secret_login("wrong").await,
        401,
        "invalid_client",
        7_000_215,
    );
    desk.app.add_expired_secret("old");
    aadsts(
        &desk.secret_login("old").await,
        401,
        "invalid_client",
        7_000_222,
    );
    assert_eq!(
        desk.secret_login(SECRET).await.0,
        200,
        "one expired secret does not spoil the other"
    );
    desk.app.remove_secret(SECRET);
    aadsts(
        &desk.secret_login(SECRET).await,
        401,
        "invalid_client",
        7_000_215,
    );
}

#[tokio::test]
async fn an_application_or_tenant_that_is_not_there() {
    let desk = Desk::new().await;
    let other = "99998888-7777-6666-5555-444433332222";
    aadsts(
        &desk.entra(TENANT, &login(other, SECRET)).await,
        400,
        "unauthorized_client",
        700_016,
    );
    aadsts(
        &desk.entra(other, &login(CLIENT, SECRET)).await,
        400,
        "invalid_request",
        90002,
    );
    desk.dir.remove();
    aadsts(
        &desk.secret_login(SECRET).await,
        400,
        "invalid_request",
        90002,
    );
}

#[tokio::test]
async fn disabled_deleted_and_back() {
    let desk = Desk::new().await;
    desk.app.disable();
    aadsts(
        &desk.secret_login(SECRET).await,
        400,
        "unauthorized_client",
        7_000_112,
    );
    desk.app.enable();
    assert_eq!(desk.secret_login(SECRET).await.0, 200);
    desk.app.delete();
    aadsts(
        &desk.secret_login(SECRET).await,
        400,
        "unauthorized_client",
        700_016,
    );
    desk.app.restore();
    assert_eq!(desk.secret_login(SECRET).await.0, 200);
    desk.app.delete();
    let again = desk.dir.application(CLIENT);
    assert_ne!(
        again.principal(),
        desk.app.principal(),
        "made anew it is another principal"
    );
    desk.app.add_secret(SECRET);
    aadsts(
        &desk.secret_login(SECRET).await,
        401,
        "invalid_client",
        7_000_215,
    );
}

#[tokio::test]
async fn a_request_that_is_not_whole() {
    let desk = Desk::new().await;
    let whole = login(CLIENT, SECRET);
    for missing in ["grant_type", "client_id", "scope"] {
        let form: Vec<_> = whole
            .iter()
            .copied()
            .filter(|(name, _)| *name != missing)
            .collect();
        let said = desk.entra(TENANT, &form).await;
        aadsts(&said, 400, "invalid_request", 900_144);
        assert!(
            said.1["error_description"]
                .as_str()
                .unwrap()
                .contains(&format!("'{missing}'"))
        );
    }
    aadsts(
        &desk.entra(TENANT, &whole[..2]).await,
        400,
        "invalid_request",
        900_144,
    );
    let none: Vec<_> = whole
        .iter()
        .copied()
        .filter(|(name, _)| *name != "client_secret")
        .collect();
    aadsts(
        &desk.entra(TENANT, &none).await,
        401,
        "invalid_client",
        7_000_216,
    );
    let both = [&whole[..], &[("client_assertion", "a.b.c")]].concat();
    aadsts(
        &desk.entra(TENANT, &both).await,
        401,
        "invalid_client",
        7_000_216,
    );
}

#[tokio::test]
async fn a_request_for_something_else() {
    let desk = Desk::new().await;
    let with = |name: &'static str, value: &'static str| -> Vec<(&str, &str)> {
        login(CLIENT, SECRET)
            .into_iter()
            .map(|(key, old)| (key, if key == name { value } else { old }))
            .collect()
    };
    let said = desk.entra(TENANT, &with("grant_type", "password")).await;
    aadsts(&said, 400, "unsupported_grant_type", 70003);
    let said = desk
        .entra(TENANT, &with("scope", "https://vault.azure.net"))
        .await;
    aadsts(&said, 400, "invalid_scope", 1_002_012);
    let said = desk
        .entra(
            TENANT,
            &with("scope", "https://evilvault.azure.net/.default"),
        )
        .await;
    aadsts(&said, 400, "invalid_resource", 500_011);
}

#[tokio::test]
async fn only_a_posted_form_counts() {
    let desk = Desk::new().await;
    let url = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
    let answer = said(
        desk.http
            .get(&url)
            .query_pairs(&login(CLIENT, SECRET))
            .send()
            .await
            .unwrap(),
    )
    .await;
    aadsts(&answer, 400, "invalid_request", 900_561);
    let body = r#"{"grant_type":"client_credentials"}"#;
    let json = desk
        .http
        .post(&url)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    aadsts(&said(json).await, 400, "invalid_request", 900_144);
    let unsaid = desk.http.post(&url).body(format!(
        "grant_type=client_credentials&client_id={CLIENT}&client_secret={SECRET}\
         &scope=https://vault.azure.net/.default"
    ));
    let unsaid = said(unsaid.send().await.unwrap()).await;
    aadsts(&unsaid, 400, "invalid_request", 900_144);
    let other = desk
        .http
        .post(format!(
            "https://login.microsoftonline.com/{TENANT}/oauth2/token"
        ))
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 404, "the v1 endpoint is not here");
    assert_eq!(desk.cloud.count("login.microsoftonline.com", "other"), 1);
}

#[tokio::test]
async fn discovery_documents() {
    let desk = Desk::new().await;
    let url = |tenant: &str| {
        format!("https://login.microsoftonline.com/{tenant}/v2.0/.well-known/openid-configuration")
    };
    let (status, body) = said(desk.http.get(url(TENANT)).send().await.unwrap()).await;
    assert_eq!(status, 200);
    let endpoint = body["token_endpoint"].as_str().unwrap();
    assert_eq!(
        endpoint,
        format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token")
    );
    let keys = said(
        desk.http
            .get(body["jwks_uri"].as_str().unwrap())
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(keys.1["keys"][0]["kty"], "RSA");
    aadsts(
        &said(desk.http.get(url(CLIENT)).send().await.unwrap()).await,
        400,
        "invalid_tenant",
        90002,
    );
}

#[tokio::test]
async fn a_token_outlives_the_application_but_not_its_time() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.app.delete();
    assert_eq!(
        desk.wrap(&token).await.0,
        200,
        "tokens already issued keep working"
    );
    desk.app.restore();
    desk.dir.token_lifetime(Duration::ZERO);
    let short = desk.token().await;
    assert_eq!(desk.wrap(&short).await.0, 401);
}

/// reqwest without its `query` feature.
trait QueryPairs {
    fn query_pairs(self, pairs: &[(&str, &str)]) -> Self;
}

impl QueryPairs for reqwest::RequestBuilder {
    fn query_pairs(self, pairs: &[(&str, &str)]) -> Self {
        let (client, request) = self.build_split();
        let mut request = request.unwrap();
        request.url_mut().query_pairs_mut().extend_pairs(pairs);
        Self::from_parts(client, request)
    }
}
