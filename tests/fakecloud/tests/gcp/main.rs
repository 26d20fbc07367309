//! What the official Python clients cannot show of the fake Google cloud: faults, the ledger, and that tokens are
//! this cloud's own. Every other check is in `python/test_gcp_*.py`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::{CryptoKey, Effect, FakeCloud, Fault, KMS_HOST, METADATA_HOST, VersionState};
use reqwest::{Certificate, Client, Proxy};
use serde_json::{Value, json};

const KEY: &str = "projects/acme-prod/locations/global/keyRings/tenants/cryptoKeys/acme";
const OPERATOR: &str = "operator@platform-1.iam.gserviceaccount.com";
const USE: &str = "roles/cloudkms.cryptoKeyEncrypterDecrypter";

struct Desk {
    cloud: FakeCloud,
    http: Client,
    key: CryptoKey,
}

impl Desk {
    async fn new() -> Self {
        let cloud = FakeCloud::start().await.unwrap();
        let gcp = cloud.gcp();
        let operator = gcp.service_account(OPERATOR);
        gcp.machine_account(Some(&operator));
        let key = gcp.create_key(KEY);
        gcp.grant(KEY, &operator.member(), USE).unwrap();
        let ca = Certificate::from_pem(&std::fs::read(cloud.ca_file()).unwrap()).unwrap();
        let http = Client::builder()
            .tls_certs_only([ca])
            .proxy(Proxy::https(cloud.proxy_url()).unwrap())
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self { cloud, http, key }
    }

    async fn token(&self) -> String {
        let url = format!(
            "http://{}/computeMetadata/v1/instance/service-accounts/default/token",
            self.cloud.gcp_metadata()
        );
        let request = self.http.get(url).header("Metadata-Flavor", "Google");
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    async fn call(&self, token: &str, verb: &str, body: Value) -> (u16, Value) {
        let request = self
            .http
            .post(format!("https://{KMS_HOST}/v1/{KEY}:{verb}"));
        let answer = request.bearer_auth(token).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

fn plaintext() -> Value {
    json!({ "plaintext": STANDARD.encode([7; 32]), "plaintextCrc32c": 2_320_774_811_u32 })
}

#[tokio::test]
async fn a_ciphertext_is_the_owners_to_open_whatever_its_state() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let body = json!({ "plaintext": STANDARD.encode([7; 32]) });
    let (status, said) = desk.call(&token, "encrypt", body).await;
    assert_eq!(status, 200, "{said}");
    let sealed = STANDARD
        .decode(said["ciphertext"].as_str().unwrap())
        .unwrap();
    desk.key.set_states(VersionState::Disabled);
    assert_eq!(desk.key.open(&sealed, b"").unwrap(), [7; 32]);
    assert!(desk.key.open(&sealed, b"other").is_none());
    let wrong = desk.call(&token, "encrypt", plaintext()).await;
    assert_eq!(wrong.1["error"]["status"], "FAILED_PRECONDITION");
}

#[tokio::test]
async fn a_token_of_another_cloud_is_none() {
    let (one, other) = (Desk::new().await, Desk::new().await);
    let foreign = other.token().await;
    let (status, said) = one.call(&foreign, "encrypt", json!({})).await;
    assert_eq!(
        (status, said["error"]["status"].as_str()),
        (401, Some("UNAUTHENTICATED"))
    );
}

#[tokio::test]
async fn secrets_are_remembered_and_the_ledger_holds_none() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.call(&token, "encrypt", json!({})).await;
    desk.call("a token from elsewhere", "encrypt", json!({}))
        .await;
    let issued = desk.cloud.issued();
    for secret in [token.as_str(), "a token from elsewhere"] {
        assert!(issued.iter().any(|known| known == secret), "{secret}");
    }
    let calls = format!("{:?}", desk.cloud.calls());
    assert!(issued.iter().all(|secret| !calls.contains(secret)));
    assert_eq!(desk.cloud.count(METADATA_HOST, "metadata-token"), 1);
}

#[tokio::test]
async fn faults_in_the_form_of_the_service() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    let on = |effect| Fault::on(KMS_HOST, effect).operation("encrypt").times(1);
    for (status, code) in [(429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")] {
        desk.cloud.fault(on(Effect::google(status, code)));
        let (found, said) = desk.call(&token, "encrypt", json!({})).await;
        assert_eq!(
            (found, said["error"]["status"].as_str()),
            (status, Some(code))
        );
    }
    let (status, said) = desk.call(&token, "encrypt", plaintext()).await;
    assert_eq!(status, 400, "a checksum that does not fit: {said}");
    let member = format!("serviceAccount:{OPERATOR}");
    let merged = Effect::Merge(json!({ "ciphertextCrc32c": "1" }));
    desk.cloud.fault(on(merged).principal(&member));
    let (_, said) = desk.call(&token, "encrypt", json!({})).await;
    assert_eq!(said["ciphertextCrc32c"], "1");
}

#[tokio::test]
async fn another_hosts_service_is_not_reached_through_a_connection() {
    let desk = Desk::new().await;
    let request = desk.http.post(format!("https://{KMS_HOST}/v1/token"));
    let answer = request
        .header("host", "sts.googleapis.com")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 421);
}
