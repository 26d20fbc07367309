//! Raw requests, so that a test sees the whole answer: body, status details and warnings.

use anyhow::{Context, Result};
use harness::ControlPlane;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// `fieldValidation` of the request; kubectl's `--validate`.
#[derive(Clone, Copy, Debug)]
pub enum Validation {
    Strict,
    Warn,
}

/// A namespace of its own on the shared control plane.
pub struct Api {
    client: Client,
    pub namespace: String,
}

/// What the API server said, word for word.
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub warnings: Vec<String>,
}

impl Answer {
    pub fn admitted(&self) -> bool {
        self.status < 300
    }

    pub fn message(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["message"].as_str().unwrap_or(&self.body).to_owned()
    }

    /// Field and message of every cause; the whole message when there are none.
    pub fn causes(&self) -> Vec<(String, String)> {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match body["details"]["causes"].as_array() {
            Some(causes) => causes
                .iter()
                .map(|c| (text(&c["field"]), text(&c["message"])))
                .collect(),
            None => vec![(String::new(), self.message())],
        }
    }
}

pub fn tenant(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "tenantkms.dev/v1alpha1",
        "kind": "TenantKms",
        "metadata": {"name": name},
        "spec": spec,
    })
}

impl Api {
    pub async fn new(namespace: &str) -> Result<Self> {
        let client = ControlPlane::shared().await?.admin().await?;
        let api = Self {
            client,
            namespace: namespace.into(),
        };
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let made = api
            .send("POST", "/api/v1/namespaces", "application/json", &object)
            .await?;
        anyhow::ensure!(made.admitted(), "{}", made.body);
        Ok(api)
    }

    pub async fn create(&self, object: &Value, how: Validation, dry: bool) -> Result<Answer> {
        let dry = if dry { "&dryRun=All" } else { "" };
        let target = format!("{}?fieldValidation={how:?}{dry}", self.path(""));
        self.send("POST", &target, "application/json", object).await
    }

    pub async fn apply(&self, name: &str, object: &Value, how: Validation) -> Result<Answer> {
        let query = format!("fieldManager=test&force=true&fieldValidation={how:?}&dryRun=All");
        let target = format!("{}?{query}", self.path(name));
        self.send("PATCH", &target, "application/apply-patch+yaml", object)
            .await
    }

    pub async fn merge(&self, name: &str, patch: &Value, how: Validation) -> Result<Answer> {
        let target = format!("{}?fieldValidation={how:?}&dryRun=All", self.path(name));
        self.send("PATCH", &target, "application/merge-patch+json", patch)
            .await
    }

    pub async fn replace(&self, name: &str, object: &Value) -> Result<Answer> {
        let stored = self
            .send("GET", &self.path(name), "application/json", &Value::Null)
            .await?;
        let stored: Value = serde_json::from_str(&stored.body)?;
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        let target = format!("{}?fieldValidation=Strict&dryRun=All", self.path(name));
        self.send("PUT", &target, "application/json", &object).await
    }

    pub async fn patch_status(&self, name: &str, patch: &Value) -> Result<Answer> {
        let target = format!("{}/status", self.path(name));
        self.send("PATCH", &target, "application/merge-patch+json", patch)
            .await
    }

    fn path(&self, name: &str) -> String {
        let kind = format!(
            "/apis/tenantkms.dev/v1alpha1/namespaces/{}/tenantkmses",
            self.namespace
        );
        if name.is_empty() {
            kind
        } else {
            format!("{kind}/{name}")
        }
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Answer> {
        let body = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body)?
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Body::from(body))?;
        let response = self
            .client
            .send(request)
            .await
            .with_context(|| format!("{method} {path}"))?;
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|w| String::from_utf8_lossy(w.as_bytes()).into_owned())
            .collect();
        let status = response.status().as_u16();
        let body = response.into_body().collect_bytes().await?;
        Ok(Answer {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
            warnings,
        })
    }
}
