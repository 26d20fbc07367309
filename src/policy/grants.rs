//! What the platform allows: a pure question and answer on values already parsed. Everything that
//! is not granted is refused, and the answer is asked for at every use, never remembered.

use serde::Deserialize;

use super::pattern::{KeyPattern, TenantPattern};
use super::variable::{self, AllowedVariable};
use crate::api::Reason;
use crate::credentials::quoted;
use crate::provider::{Failure, TenantId};

/// One reading of the configuration file. The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub(super) variables: Vec<VariableGrant>,
    pub(super) keys: Vec<KeyGrant>,
    pub(super) own_azure: OwnAzure,
    pub(super) suffixes: Vec<String>,
    pub(super) limits: Limits,
    pub(super) unenforced: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VariableGrant {
    pub(super) name: String,
    pub(super) tenants: Vec<TenantPattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyGrant {
    pub(super) tenants: Vec<TenantPattern>,
    pub(super) keys: Vec<KeyPattern>,
}

/// `operatorIdentity.azure`: which of its own identities the operator uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnAzure {
    /// Workload identity where the AKS webhook set its variables, else managed identity.
    #[default]
    Auto,
    WorkloadIdentity,
    ManagedIdentity,
}

/// Requests per second from workloads, of each replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub agent_tenant_rps: u32,
    /// Of one caller of one tenant.
    pub agent_caller_rps: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agent_tenant_rps: 20_000,
            agent_caller_rps: 5_000,
        }
    }
}

impl Policy {
    /// Whether `tenant` may use the operator's own identity for the key with this canonical id; a
    /// key that the platform mounts is its own.
    pub fn allows_own_identity(&self, tenant: &TenantId, key_id: &str) -> bool {
        self.keys.iter().any(|grant| {
            grant.tenants.iter().any(|p| p.matches(tenant))
                && grant.keys.iter().any(|p| p.matches(key_id))
        })
    }

    /// The same by a grant that names both without `*`: for a tenant that chooses whose
    /// application the operator becomes.
    pub fn names_own_identity(&self, tenant: &TenantId, key_id: &str) -> bool {
        self.keys.iter().any(|grant| {
            let mut tenants = grant.tenants.iter().filter(|p| p.is_exact());
            let mut keys = grant.keys.iter().filter(|p| p.is_exact());
            tenants.any(|p| p.matches(tenant)) && keys.any(|p| p.matches(key_id))
        })
    }

    /// Refuses the tenant the operator's own identity for a key, unless it is granted: `exactly`, by a
    /// grant without `*`, to a tenant that chooses more than its key. `what` it is used for stands
    /// before the key.
    pub fn lends_own_identity(
        &self,
        tenant: &TenantId,
        key_id: &str,
        exactly: bool,
        what: &str,
    ) -> Result<(), Failure> {
        let (allowed, needs) = if exactly {
            let needs = "it needs, without any '*',";
            (self.names_own_identity(tenant, key_id), needs)
        } else {
            (self.allows_own_identity(tenant, key_id), "it needs")
        };
        if allowed {
            return Ok(());
        }
        Err(Failure::denial(
            Reason::NotAllowed,
            format!(
                "the operator's configuration does not let tenant {tenant} use {what} {key_id}. \
                 Check operatorIdentity.allow: {needs} tenants: [{}] and keys: [{}], then: \
                 tenant-kms config check '<file>'",
                quoted(&tenant.to_string()),
                quoted(key_id)
            ),
        ))
    }

    /// The variable of this name, if `tenant` may read it. Nothing else makes an
    /// [`AllowedVariable`], and only that can be read.
    pub fn variable(&self, tenant: &TenantId, name: &str) -> Result<AllowedVariable, Failure> {
        variable::allow(tenant, name, || self.variables_of(tenant))
    }

    /// The names `tenant` may use, in the file's order.
    pub fn variables_of<'a>(&'a self, tenant: &'a TenantId) -> impl Iterator<Item = &'a str> {
        self.variables
            .iter()
            .filter(|grant| grant.tenants.iter().any(|p| p.matches(tenant)))
            .map(|grant| grant.name.as_str())
    }

    /// Host suffixes beyond the provider's own, for tenants that bring their own credential.
    pub fn endpoint_suffixes(&self) -> &[String] {
        &self.suffixes
    }

    /// How much of what is granted, for people: counts, so that nothing is repeated.
    pub fn summary(&self) -> String {
        format!(
            "client secret variables   {}\nown identity, grants      {}\nown identity in Azure     \
             {:?}\nextra endpoint suffixes   {}\nlimits not enforced yet   {}\n",
            self.variables.len(),
            self.keys.len(),
            self.own_azure,
            self.suffixes.len(),
            if self.unenforced.is_empty() {
                "none".to_owned()
            } else {
                self.unenforced.join(", ")
            }
        )
    }

    pub fn own_azure(&self) -> OwnAzure {
        self.own_azure
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The limits in the file that are not enforced yet.
    pub fn unenforced(&self) -> &[&'static str] {
        &self.unenforced
    }
}
