//! The ways out to Google: Cloud KMS, its identity services, and the metadata server by a client of
//! its own that knows no proxy. Hosts are fixed; a tenant chooses none.

use crate::provider::http::{NoClient, bounded};

pub const KMS: &str = "cloudkms.googleapis.com";
pub const STS: &str = "sts.googleapis.com";
pub const IAM: &str = "iamcredentials.googleapis.com";

/// Where the metadata server is, when not at its fixed address: the SDKs' usual variable.
const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";
const METADATA: &str = "169.254.169.254";

#[derive(Clone, Debug)]
pub struct Transport {
    /// No connection is kept: its buffers hold the master key that came over it last.
    pub kms: reqwest::Client,
    pub identity: reqwest::Client,
    pub metadata: reqwest::Client,
    /// `http://HOST[:PORT]`.
    pub metadata_origin: String,
}

impl Transport {
    /// The metadata server follows `GCE_METADATA_HOST`, which is a host and perhaps a port.
    pub fn from_environment() -> Result<Self, NoClient> {
        let host = std::env::var(METADATA_VARIABLE)
            .ok()
            .filter(|host| !host.is_empty());
        let origin = format!("http://{}", host.as_deref().unwrap_or(METADATA));
        let parsed = url::Url::parse(&origin).map_err(|_| NoClient)?;
        let only_host = parsed.path() == "/"
            && parsed.query().is_none()
            && parsed.fragment().is_none()
            && parsed.username().is_empty()
            && !origin.ends_with('/');
        if !only_host {
            return Err(NoClient);
        }
        let secure = || bounded().https_only(true);
        Ok(Self {
            kms: secure()
                .pool_max_idle_per_host(0)
                .build()
                .map_err(|_| NoClient)?,
            identity: secure().build().map_err(|_| NoClient)?,
            metadata: bounded()
                .no_proxy()
                .pool_max_idle_per_host(0)
                .build()
                .map_err(|_| NoClient)?,
            metadata_origin: origin,
        })
    }
}
