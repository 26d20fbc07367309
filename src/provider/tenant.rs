//! The name of a tenant as policies, logs and errors write it. It identifies an object, never a
//! person's right: what a tenant may do is the policy's business.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::policy::pattern::is_dns_name;
use crate::random::encode_hex;

/// `namespace/name` of one `TenantKms`. Shared, as it is what many things are found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<Names>);

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Names {
    pub namespace: String,
    pub name: String,
}

impl Deref for TenantId {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.0
    }
}

impl TenantId {
    /// From `namespace/name`, if an object can have it.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        // A namespace is one label.
        let possible = !namespace.contains('.') && is_dns_name(namespace) && is_dns_name(name);
        possible.then(|| Self::new(namespace, name))
    }

    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self(Arc::new(Names {
            namespace: namespace.into(),
            name: name.into(),
        }))
    }

    /// Namespace and name.
    pub fn parts(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is on record of a tenant and a connection depends on. The default is nothing: no record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    pub tenant_uid: Option<String>,
    /// The key that wraps what is on record, where a spec names it by something that may move.
    pub key_id: Option<String>,
}

impl Anchor {
    pub fn of(tenant_uid: &str, key_id: Option<&str>) -> Self {
        Self {
            tenant_uid: Some(tenant_uid.to_owned()),
            key_id: key_id.map(str::to_owned),
        }
    }

    pub fn external_id(&self) -> Option<String> {
        self.tenant_uid.as_deref().map(external_id)
    }
}

/// The external id that the operator issues to the tenant with this uid: as random as that, the same
/// for as long as it lives, and telling nothing of it.
pub fn external_id(tenant_uid: &str) -> String {
    let digest = digest(&SHA256, format!("external id\n{tenant_uid}").as_bytes());
    format!("tkms-{}", encode_hex(&digest.as_ref()[..16]))
}

/// Every part preceded by its length, so that no two lists meet: what a wrapped key is bound to.
pub fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_is_one_tenant_s_for_ever() {
        assert_eq!(external_id("a"), external_id("a"));
        assert_ne!(external_id("a"), external_id("b"));
        let id = external_id("0123456789abcdef0123456789abcdef");
        assert!(id.len() == 37 && !id.contains("0123456789abcdef"), "{id}");
    }
}
