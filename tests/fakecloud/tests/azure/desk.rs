//! What every test starts from: a cloud, a directory, an application with a secret, a vault with a key that the
//! application may use, and an HTTP client that knows only the cloud's proxy and CA.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fakecloud::{Application, Directory, FakeCloud, Key, Scope, Vault};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy, RequestBuilder, Response};
use serde_json::{Value, json};

pub const TENANT: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
pub const CLIENT: &str = "11112222-3333-4444-5555-666677778888";
pub const SECRET: &str = "a-secret-that-works";
pub const HOST: &str = "acme-kv.vault.azure.net";

pub struct Desk {
    pub cloud: FakeCloud,
    pub http: Client,
    pub dir: Directory,
    pub app: Application,
    pub vault: Vault,
    pub key: Key,
}

/// A status and a JSON body.
pub type Said = (u16, Value);

impl Desk {
    pub async fn new() -> Self {
        let cloud = FakeCloud::start().await.unwrap();
        let http = client(&cloud);
        let dir = cloud.directory(TENANT);
        let app = dir.application(CLIENT);
        app.add_secret(SECRET);
        let vault = cloud.vault("acme-kv", &dir);
        let key = vault.create_key("tenant-wrapping-key");
        vault.grant(app.principal(), Scope::Vault);
        Self {
            cloud,
            http,
            dir,
            app,
            vault,
            key,
        }
    }

    /// POSTs a form to a tenant's token endpoint.
    pub async fn entra(&self, tenant: &str, form: &[(&str, &str)]) -> Said {
        let url = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        said(request.send().await.unwrap()).await
    }

    pub async fn secret_login(&self, secret: &str) -> Said {
        self.entra(TENANT, &login(CLIENT, secret)).await
    }

    pub async fn token(&self) -> String {
        let (status, body) = self.secret_login(SECRET).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// POSTs to the vault; `path` starts after `/keys/`.
    pub async fn post(&self, token: &str, path: &str, body: Value) -> Said {
        let url = format!("https://{HOST}/keys/{path}?api-version=7.6");
        said(
            self.http
                .post(url)
                .bearer_auth(token)
                .json(&body)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn wrap(&self, token: &str) -> Said {
        self.post(
            token,
            "tenant-wrapping-key//wrapkey",
            wrap_body(b"32 bytes of a tenants master key"),
        )
        .await
    }

    pub async fn unwrap(&self, token: &str, version: &str, value: &str) -> Said {
        let body = json!({ "alg": "RSA-OAEP-256", "value": value });
        self.post(
            token,
            &format!("tenant-wrapping-key/{version}/unwrapkey"),
            body,
        )
        .await
    }

    pub async fn get(&self, token: &str, path: &str) -> Said {
        let url = format!("https://{HOST}/keys/{path}?api-version=7.6");
        said(self.http.get(url).bearer_auth(token).send().await.unwrap()).await
    }

    pub fn imds(&self, query: &str) -> RequestBuilder {
        // IMDS is never asked through a proxy.
        let direct = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        direct.get(format!(
            "{}/metadata/identity/oauth2/token?{query}",
            self.cloud.imds_url()
        ))
    }
}

pub fn client(cloud: &FakeCloud) -> Client {
    let ca = Certificate::from_pem(&std::fs::read(cloud.ca_file()).unwrap()).unwrap();
    Client::builder()
        .tls_certs_only([ca])
        .proxy(Proxy::all(cloud.proxy_url()).unwrap())
        .redirect(Policy::none())
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

pub fn login<'a>(client: &'a str, secret: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_secret", secret),
        ("scope", "https://vault.azure.net/.default"),
    ]
}

pub fn wrap_body(plain: &[u8]) -> Value {
    json!({ "alg": "RSA-OAEP-256", "value": URL_SAFE_NO_PAD.encode(plain) })
}

pub async fn said(response: Response) -> Said {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// Key Vault's `error.code` and `error.innererror.code`.
pub fn codes(body: &Value) -> (&str, &str) {
    let text = |pointer| {
        body.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    (text("/error/code"), text("/error/innererror/code"))
}

/// A vault's refusal: status, code, inner code.
#[track_caller]
pub fn refused(said: &Said, status: u16, code: &str, inner: &str) {
    assert_eq!(
        (said.0, codes(&said.1)),
        (status, (code, inner)),
        "{}",
        said.1
    );
}

/// Entra's refusal: status, error, AADSTS number, which the description must name as well.
#[track_caller]
pub fn aadsts(said: &Said, status: u16, error: &str, code: u32) {
    let (found, body) = said;
    assert_eq!(
        (*found, body["error"].as_str(), &body["error_codes"]),
        (status, Some(error), &json!([code])),
        "{body}"
    );
    let description = body["error_description"].as_str().unwrap();
    assert!(
        description.starts_with(&format!("AADSTS{code}: ")),
        "{description}"
    );
    for part in ["Trace ID: ", "Correlation ID: ", "Timestamp: "] {
        assert!(description.contains(part), "{description}");
    }
}
