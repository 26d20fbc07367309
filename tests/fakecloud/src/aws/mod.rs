//! The AWS cloud: STS, KMS, the instance metadata service and the EKS Pod Identity agent. Decides which service a
//! request belongs to; each service decides alone what it answers.

mod access;
mod caller;
pub mod effects;
pub mod key;
mod kms;
mod kms_errors;
mod metadata;
pub mod region;
pub mod role;
mod sigv4;
mod sts;
mod sts_errors;
mod web_identity;

use std::collections::HashMap;
use std::sync::Arc;

use crate::azure::imds::IMDS_HOST;
use crate::azure::now;
use crate::http::Asked;
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

pub use caller::AccessKey;
use caller::Credential;
use key::{Key, KeyOptions, KeyState};
use region::Place;
use role::{Role, RoleState};

/// What exists in this AWS.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By ARN.
    keys: HashMap<String, KeyState>,
    /// Keys by the ARN of their alias.
    aliases: HashMap<String, String>,
    /// By ARN.
    roles: HashMap<String, RoleState>,
    /// By access key id.
    credentials: HashMap<String, Credential>,
    /// The audiences of an account's OpenID Connect providers, by account and issuer.
    providers: HashMap<(String, String), Vec<String>>,
    /// The role of this machine's instance profile.
    instance_role: Option<String>,
    /// Roles by the subject of a pod's token.
    pod_identities: HashMap<String, String>,
    /// Session tokens of the metadata service, with their ends.
    imds_tokens: HashMap<String, u64>,
    /// How far AWS's clock is ahead of this machine's, in seconds.
    ahead: i64,
}

impl State {
    /// The time as AWS has it.
    fn now(&self) -> u64 {
        now().saturating_add_signed(self.ahead)
    }
}

/// Whether AWS answers under that name at all.
pub(crate) fn knows(host: &str) -> bool {
    Place::of_host(host).is_some()
}

/// Whether a request is this cloud's. The metadata services of two clouds share an address.
pub(crate) fn owns(asked: &Asked) -> bool {
    knows(&asked.host) || (asked.host == IMDS_HOST && metadata::is_path(&asked.path))
}

/// Who asks for what, and the service that will answer.
pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    let Some(place) = Place::of_host(&asked.host) else {
        return metadata::prepare(world, asked);
    };
    match place.service {
        "sts" => sts::prepare(world, asked, place),
        _ => kms::prepare(world, asked, place),
    }
}

/// AWS as its customers change it.
#[derive(Debug, Clone)]
pub struct Aws(Arc<World>);

impl Aws {
    pub(crate) fn open(world: &Arc<World>) -> Self {
        Self(world.clone())
    }

    /// The role with this ARN, made if new: nobody may assume it and it may do nothing.
    pub fn role(&self, arn: &str) -> Role {
        Role::open(&self.0, arn)
    }

    /// A new symmetric key of an account, with the policy that the console gives: its account's own policies decide.
    pub fn create_key(&self, account: &str, region: &str) -> Key {
        self.create_key_with(account, region, KeyOptions::default())
    }

    pub fn create_key_with(&self, account: &str, region: &str, options: KeyOptions) -> Key {
        Key::create(&self.0, account, region, options)
    }

    /// The same with this ARN, as documents have them; the key that is there, if there is one already.
    pub fn create_key_as(&self, arn: &str) -> Key {
        Key::create_as(&self.0, arn, KeyOptions::default())
    }

    /// A handle of a key that exists (or may exist).
    pub fn key(&self, arn: &str) -> Key {
        Key::named(&self.0, arn)
    }

    /// Points an alias, by its ARN, at a key; makes it if new.
    pub fn point_alias(&self, alias: &str, key: &Key) {
        let mut aws = self.0.aws();
        aws.aliases.insert(alias.to_owned(), key.arn().to_owned());
    }

    pub fn delete_alias(&self, alias: &str) {
        self.0.aws().aliases.remove(alias);
    }

    /// A long-term access key of the user with this ARN.
    pub fn user(&self, arn: &str) -> AccessKey {
        let (id, credential) = Credential::long_term(arn);
        let key = AccessKey {
            id: id.clone(),
            secret: credential.secret.clone(),
        };
        self.0.calls.secret(&key.secret);
        let mut aws = self.0.aws();
        aws.roles.entry(arn.to_owned()).or_default();
        aws.credentials.insert(id, credential);
        key
    }

    /// Ends one access key.
    pub fn remove_access_key(&self, id: &str) {
        self.0.aws().credentials.remove(id);
    }

    /// An OpenID Connect provider of an account; replaces the one there was. Whether the issuer's keys can be read is
    /// said by [`crate::FakeCloud::trust_issuer`].
    pub fn oidc_provider(&self, account: &str, issuer: &str, audiences: &[&str]) {
        let audiences = audiences.iter().map(|&one| one.to_owned()).collect();
        let of = (account.to_owned(), issuer.to_owned());
        self.0.aws().providers.insert(of, audiences);
    }

    pub fn remove_oidc_provider(&self, account: &str, issuer: &str) {
        let of = (account.to_owned(), issuer.to_owned());
        self.0.aws().providers.remove(&of);
    }

    /// The role of this machine's instance profile, or none.
    pub fn instance_role(&self, arn: Option<&str>) {
        self.0.aws().instance_role = arn.map(str::to_owned);
    }

    /// The role that EKS Pod Identity gives to the pods of a service account, by its token's subject.
    pub fn pod_identity(&self, subject: &str, role: &str) {
        let mut aws = self.0.aws();
        aws.pod_identities
            .insert(subject.to_owned(), role.to_owned());
    }

    /// Sets AWS's clock this many seconds ahead of the machine's (or behind).
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.0.aws().ahead = seconds;
    }

    /// Ends every temporary credential that was given out, as time does.
    pub fn expire_sessions(&self) {
        let mut aws = self.0.aws();
        for credential in aws.credentials.values_mut() {
            credential.expires = credential.expires.map(|_| 0);
        }
    }
}
