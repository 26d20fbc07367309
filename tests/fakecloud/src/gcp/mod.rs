//! The Google cloud: STS, IAM credentials, the metadata server and Cloud KMS, all by REST. Decides which service a
//! request belongs to; each service decides alone what it answers.

mod account;
mod crypt;
mod errors;
mod handle;
mod iam;
mod iamcredentials;
mod key;
mod kms;
mod metadata;
mod names;
mod oidc;
mod provider;
mod sts;
mod token;

use std::collections::{BTreeSet, HashMap};

pub use account::ServiceAccount;
pub use handle::Gcp;
pub use key::{CryptoKey, VersionState};
pub use metadata::METADATA_HOST;
pub use provider::Provider;

use crate::http::Asked;
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

pub const KMS_HOST: &str = "cloudkms.googleapis.com";
pub const STS_HOST: &str = "sts.googleapis.com";
pub const IAM_CREDENTIALS_HOST: &str = "iamcredentials.googleapis.com";

/// What exists in this Google cloud.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By id.
    pub(crate) projects: HashMap<String, Project>,
    /// By e-mail address.
    pub(crate) accounts: HashMap<String, account::Account>,
    /// By full name.
    pub(crate) providers: HashMap<String, provider::ProviderState>,
    /// By full name.
    pub(crate) keys: HashMap<String, key::KeyState>,
    pub(crate) bindings: Vec<iam::Binding>,
    /// By the token's text, which says nothing by itself.
    pub(crate) tokens: HashMap<String, token::Holder>,
    /// The service account of "this machine".
    pub(crate) machine: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) number: u64,
    /// Services that are not enabled, by host.
    pub(crate) disabled: BTreeSet<String>,
}

impl State {
    /// The id of the project with this number.
    pub(crate) fn project_of_number(&self, number: &str) -> Option<&str> {
        let known = self.projects.iter();
        let mut known = known.filter(|(_, project)| project.number.to_string() == number);
        known.next().map(|(id, _)| id.as_str())
    }
}

/// Whether this cloud answers under that name behind the proxy.
pub(crate) fn knows(host: &str) -> bool {
    [KMS_HOST, STS_HOST, IAM_CREDENTIALS_HOST].contains(&host)
}

/// Whether requests for that host are this cloud's.
pub(crate) fn owns(host: &str) -> bool {
    host == METADATA_HOST || knows(host)
}

/// Who asks for what, and the service that will answer.
pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    match asked.host.as_str() {
        KMS_HOST => kms::prepare(world, asked),
        STS_HOST => sts::prepare(world, asked),
        IAM_CREDENTIALS_HOST => iamcredentials::prepare(world, asked),
        _ => metadata::prepare(world, asked),
    }
}
