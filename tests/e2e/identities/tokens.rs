//! The operator's own token as a file, and tokens made wrong on purpose with the control plane's
//! own key, so that only what is meant is wrong.

use std::path::PathBuf;

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harness::{Env, Operator, OperatorOptions};
use serde_json::Value;

use super::{AUDIENCE, Town};
use crate::support::{CLIENT, DIRECTORY};

impl Town {
    pub(super) fn token_file(&self) -> PathBuf {
        self.env.dir.path().join("own-token")
    }

    /// The subject of the operator's own token.
    pub(super) fn own_subject(&self) -> String {
        self.env.operator_user()
    }

    pub(super) async fn own_token(&self, audience: &str) -> Result<String> {
        let user = self.env.operator_user();
        let account = user.rsplit(':').next().context("a name")?;
        self.token(&self.env.operator_namespace, account, audience)
            .await
    }

    /// As the webhook of AKS prepares a pod, with the token of the operator's `ServiceAccount`.
    pub(super) async fn webhook(&self) -> Result<OperatorOptions> {
        std::fs::write(self.token_file(), self.own_token(AUDIENCE).await?)?;
        Ok(self
            .env
            .operator_options()
            .env("AZURE_FEDERATED_TOKEN_FILE", self.token_file())
            .env("AZURE_CLIENT_ID", CLIENT)
            .env("AZURE_TENANT_ID", DIRECTORY)
            .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"))
    }

    /// An operator with workload identity, which these tenants may use for the customer's key.
    pub(super) async fn with_workload_identity(
        &self,
        tenants: &str,
        key: &str,
    ) -> Result<Operator> {
        self.allow(tenants, key);
        self.env.spawn(self.webhook().await?).await
    }

    pub(super) fn allow(&self, tenants: &str, key: &str) {
        let namespace = &self.env.namespace;
        self.env.write_config(&format!(
            "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\noperatorIdentity:\n\
             \x20 allow: [{{ tenants: ['{namespace}/{tenants}'], keys: ['{key}'] }}]\n"
        ));
    }

    /// The operator's token, signed again by the control plane's key after a change.
    pub(super) async fn resigned(&self, change: impl FnOnce(&mut Value)) -> Result<String> {
        resigned(&self.env, &self.own_token(AUDIENCE).await?, change)
    }
}

/// A token, signed again by the control plane's key after a change.
pub fn resigned(env: &Env, token: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut parts = token.split('.');
    let header = parts.next().context("a header")?;
    let claims = URL_SAFE_NO_PAD.decode(parts.next().context("claims")?)?;
    let mut claims: Value = serde_json::from_slice(&claims)?;
    change(&mut claims);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let pem = std::fs::read_to_string(env.control.dir().join("sa.key"))?;
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(text)?;
    let key = KeyPair::from_pkcs8(&der).or_else(|_| KeyPair::from_der(&der));
    let key = key.ok().context("an RSA key")?;
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(
        &RSA_PKCS1_SHA256,
        &random,
        signed.as_bytes(),
        &mut signature,
    )?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
