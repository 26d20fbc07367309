//! The name of a tenant as policies, logs and errors write it. It identifies an object, never a
//! person's right: what a tenant may do is the policy's business.

use std::fmt;

use crate::policy::pattern::is_dns_name;

/// `namespace/name` of one `TenantKms`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId {
    pub namespace: String,
    pub name: String,
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
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
