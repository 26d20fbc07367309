//! Software keys of the platform, from files that it mounts: standard tenants, development, tests.
//! A key is read when it is used and never kept; no cloud is asked, and whoever can read the files
//! can open what they wrap.

mod envelope;
mod files;
mod keyref;
mod problem;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use zeroize::Zeroizing;

use self::envelope::Binding;
pub use self::files::Files;
pub use self::keyref::is_name;
use self::keyref::{KeyRef, Version};
use super::{Attributes, Failure, Kms, TenantId, Wrapped};
use crate::api::TenantKmsSpec;
use crate::policy::Policy;

/// Whether `tenant` may use the key that `spec` names. Reads nothing but the policy.
pub fn permitted(
    tenant: &TenantId,
    spec: &TenantKmsSpec,
    policy: &Policy,
) -> Result<KeyRef, Failure> {
    let key = KeyRef::parse(&spec.kms_key_ref)?;
    if policy.allows_own_identity(tenant, key.id()) {
        Ok(key)
    } else {
        Err(problem::not_allowed(tenant, &key))
    }
}

/// One key of the platform.
#[derive(Debug)]
pub struct LocalKms {
    files: Files,
    key: KeyRef,
}

impl LocalKms {
    /// The key that `spec` names, if `tenant` may use it.
    pub fn connect(
        files: &Files,
        tenant: &TenantId,
        spec: &TenantKmsSpec,
        policy: &Policy,
    ) -> Result<Self, Failure> {
        let key = permitted(tenant, spec, policy)?;
        files.check(&key)?;
        Ok(Self {
            files: files.clone(),
            key,
        })
    }

    fn binding<'a>(&'a self, version: Version, tenant_uid: &'a str) -> Binding<'a> {
        Binding {
            name: self.key.name(),
            version,
            tenant_uid,
        }
    }
}

/// A mounted Secret is memory, so that its files are read where they are used.
#[async_trait]
impl Kms for LocalKms {
    async fn wrap(
        &self,
        tenant_uid: &str,
        plaintext: &Zeroizing<Vec<u8>>,
    ) -> Result<Wrapped, Failure> {
        let version = self.files.newest(&self.key)?;
        let kek = self.files.read(&self.key, version)?;
        let binding = self.binding(version, tenant_uid);
        let ciphertext = envelope::seal(&kek, &binding, plaintext);
        Ok(Wrapped {
            ciphertext: ciphertext.map_err(|_| problem::no_random_bytes())?,
            kek_version: version.to_string(),
        })
    }

    async fn unwrap(
        &self,
        tenant_uid: &str,
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // It becomes part of a path, and may come from a stored record.
        let version = Version::parse(&wrapped.kek_version);
        let version = version.ok_or_else(|| problem::does_not_open(&self.key))?;
        let kek = self.files.read(&self.key, version)?;
        let binding = self.binding(version, tenant_uid);
        envelope::open(&kek, &binding, &wrapped.ciphertext)
            .map_err(|_| problem::does_not_open(&self.key))
    }

    /// A file does not expire, and nobody schedules its end.
    async fn attributes(&self) -> Result<Option<Attributes>, Failure> {
        Ok(Some(Attributes::default()))
    }

    fn key_id(&self) -> &str {
        self.key.id()
    }

    fn identity(&self) -> &'static str {
        "the platform's own key"
    }

    /// The platform's key serves its standard tenants in every namespace.
    fn is_exclusive(&self) -> bool {
        false
    }
}
