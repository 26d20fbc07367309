//! The cloud's certificate authority and the server side of TLS for each host it plays. ECDSA P-256, made at start,
//! written only to the cloud's own temporary folder; the CA's private key never leaves memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::world::lock;

pub(crate) struct Authority {
    pem: String,
    trusted: Issuer<'static, KeyPair>,
    /// Signs what a client must not believe: the same names, an authority nobody was told about.
    rogue: Issuer<'static, KeyPair>,
    configs: Mutex<HashMap<(String, bool), Arc<ServerConfig>>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let (pem, trusted) = authority("fakecloud test CA")?;
        let (_, rogue) = authority("fakecloud rogue CA")?;
        Ok(Self {
            pem,
            trusted,
            rogue,
            configs: Mutex::default(),
        })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// TLS for `host`; with `trusted` false the certificate comes from an authority that no client knows.
    pub(crate) fn server(&self, host: &str, trusted: bool) -> anyhow::Result<Arc<ServerConfig>> {
        let mut configs = lock(&self.configs);
        if let Some(config) = configs.get(&(host.to_owned(), trusted)) {
            return Ok(config.clone());
        }
        let issuer = if trusted { &self.trusted } else { &self.rogue };
        let key = KeyPair::generate().context("a leaf key")?;
        let mut params =
            CertificateParams::new(vec![host.to_owned()]).context("a leaf certificate")?;
        params.distinguished_name = name(host);
        params.use_authority_key_identifier_extension = true;
        let leaf = params
            .signed_by(&key, issuer)
            .context("signing a leaf certificate")?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        configs.insert((host.to_owned(), trusted), config.clone());
        Ok(config)
    }
}

fn authority(common_name: &str) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let key = KeyPair::generate().context("a CA key")?;
    let mut params = CertificateParams::new(Vec::new()).context("a CA certificate")?;
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params
        .self_signed(&key)
        .context("signing a CA certificate")?;
    Ok((certificate.pem(), Issuer::new(params, key)))
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
