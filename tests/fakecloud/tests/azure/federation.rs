//! Federated assertions: tokens as a Kubernetes API server makes them, and each way they can be wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::desk::{CLIENT, Desk, SECRET, Said, TENANT, aadsts};

const ISSUER: &str = "https://kubernetes.default.svc";
const SUBJECT: &str = "system:serviceaccount:tenants:acme-kms";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An issuer with an ES256 key, as some API servers have.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwks(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1", "x": x, "y": y }] })
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = now();
        let mut claims = json!({ "iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 600 });
        change(&mut claims);
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "kid": "k1" }).to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self
            .0
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

async fn exchange(desk: &Desk, kind: &str, assertion: &str) -> Said {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_assertion_type", kind),
        ("client_assertion", assertion),
        ("scope", "https://vault.azure.net/.default"),
    ];
    desk.entra(TENANT, &form).await
}

#[tokio::test]
async fn an_assertion_stands_in_for_a_secret() {
    let (desk, issuer) = (Desk::new().await, Issuer::new());
    desk.app.federate(ISSUER, SUBJECT, AUDIENCE);
    desk.cloud.trust_issuer(ISSUER, issuer.jwks());
    for token in [
        issuer.token(|_| ()),
        issuer.token(|claims| claims["aud"] = AUDIENCE.into()),
    ] {
        let (status, body) = exchange(&desk, TYPE, &token).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(
            desk.wrap(body["access_token"].as_str().unwrap()).await.0,
            200
        );
        assert!(
            desk.cloud.issued().contains(&token),
            "an assertion is a secret too"
        );
    }
}

#[tokio::test]
async fn an_assertion_that_matches_no_credential() {
    let (desk, issuer) = (Desk::new().await, Issuer::new());
    desk.cloud.trust_issuer(ISSUER, issuer.jwks());
    aadsts(
        &exchange(&desk, TYPE, &issuer.token(|_| ())).await,
        401,
        "invalid_client",
        70025,
    );
    desk.app.federate(ISSUER, SUBJECT, AUDIENCE);
    let table = [
        (
            issuer.token(|claims| claims["iss"] = "https://other.example".into()),
            700_211,
        ),
        (
            issuer.token(|claims| claims["aud"] = json!(["tenantkms.dev"])),
            700_212,
        ),
        (
            issuer.token(|claims| claims["sub"] = "system:serviceaccount:tenants:evil".into()),
            700_213,
        ),
    ];
    for (token, code) in table {
        aadsts(
            &exchange(&desk, TYPE, &token).await,
            401,
            "invalid_client",
            code,
        );
    }
    desk.app
        .federate(ISSUER, "system:serviceaccount:tenants:other", AUDIENCE);
    desk.app.unfederate(SUBJECT);
    aadsts(
        &exchange(&desk, TYPE, &issuer.token(|_| ())).await,
        401,
        "invalid_client",
        700_213,
    );
}

#[tokio::test]
async fn an_assertion_that_proves_nothing() {
    let (desk, issuer) = (Desk::new().await, Issuer::new());
    desk.app.federate(ISSUER, SUBJECT, AUDIENCE);
    let good = issuer.token(|_| ());
    aadsts(
        &exchange(&desk, TYPE, &good).await,
        400,
        "invalid_request",
        50166,
    );
    desk.cloud.trust_issuer(ISSUER, Issuer::new().jwks());
    aadsts(
        &exchange(&desk, TYPE, &good).await,
        401,
        "invalid_client",
        700_027,
    );
    desk.cloud.trust_issuer(ISSUER, json!({ "keys": [] }));
    aadsts(
        &exchange(&desk, TYPE, &good).await,
        401,
        "invalid_client",
        700_027,
    );
    desk.cloud.trust_issuer(ISSUER, issuer.jwks());
    let late = issuer.token(|claims| claims["exp"] = (now() - 1).into());
    aadsts(
        &exchange(&desk, TYPE, &late).await,
        401,
        "invalid_client",
        700_024,
    );
    let early = issuer.token(|claims| claims["nbf"] = (now() + 60).into());
    aadsts(
        &exchange(&desk, TYPE, &early).await,
        401,
        "invalid_client",
        700_024,
    );
    let endless = issuer.token(|claims| claims["exp"] = Value::Null);
    aadsts(
        &exchange(&desk, TYPE, &endless).await,
        401,
        "invalid_client",
        700_024,
    );
    for malformed in ["rubbish", "a.b.c", SECRET] {
        aadsts(
            &exchange(&desk, TYPE, malformed).await,
            400,
            "invalid_request",
            50027,
        );
    }
    aadsts(
        &exchange(&desk, "other", &good).await,
        400,
        "invalid_request",
        50027,
    );
    aadsts(
        &exchange(&desk, "", &good).await,
        400,
        "invalid_request",
        900_144,
    );
    assert_eq!(exchange(&desk, TYPE, &good).await.0, 200);
}
