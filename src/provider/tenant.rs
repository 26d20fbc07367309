//! The name of a tenant as policies, logs and errors write it. It identifies an object, never a
//! person's right: what a tenant may do is the policy's business.

use std::fmt;

/// `namespace/name` of one `TenantKms`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId {
    pub namespace: String,
    pub name: String,
}

impl TenantId {
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
