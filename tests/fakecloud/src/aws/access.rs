//! Who may do what: identity policies, key policies and trust policies, evaluated as IAM does. In the resource's own
//! account one of the two policies is enough, from another account both must say yes.

use std::collections::HashMap;

use crate::aws::State;
use crate::aws::caller::Caller;
use crate::aws::region::account;

/// One permission of a user or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permission {
    /// `kms:Encrypt`, or `*`.
    pub(crate) action: String,
    /// An ARN, or its beginning with `*` after it.
    pub(crate) resource: String,
}

impl Permission {
    fn allows(&self, action: &str, resource: &str) -> bool {
        let names = match self.resource.strip_suffix('*') {
            Some(start) => resource.starts_with(start),
            None => self.resource == resource,
        };
        names && (self.action == "*" || self.action == action)
    }
}

/// One statement of a key's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyStatement {
    /// A user, a role or `arn:…:iam::ACCOUNT:root`.
    pub(crate) principal: String,
    pub(crate) actions: Vec<String>,
    /// `kms:EncryptionContext:NAME` must equal this.
    pub(crate) context: Option<(String, String)>,
}

/// One statement of a role's trust policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A user, a role or a whole account; `sts:ExternalId` where the condition is there: `StringEquals`, or
    /// `StringLike` where a `*` ends it.
    Aws {
        principal: String,
        external_id: Option<String>,
    },
    /// An OpenID Connect provider, with the conditions on `sub` and `aud`.
    WebIdentity {
        issuer: String,
        subject: String,
        audience: String,
    },
}

/// Why not, as the refusals tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    Identity,
    Resource,
}

/// No external id has a `*` in it.
fn is_like(id: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => id.starts_with(start),
        None => id == wanted,
    }
}

pub(crate) fn root(arn: &str) -> String {
    let partition = arn.split(':').nth(1).unwrap_or_default();
    format!("arn:{partition}:iam::{}:root", account(arn))
}

impl State {
    fn identity_allows(&self, caller: &Caller, action: &str, resource: &str) -> bool {
        self.roles.get(&caller.principal).is_some_and(|role| {
            let mut all = role.permissions.iter();
            all.any(|permission| permission.allows(action, resource))
        })
    }

    /// Whether `caller` may do `action` with the key.
    pub(crate) fn key_allows(
        &self,
        caller: &Caller,
        action: &str,
        key: &str,
        context: &HashMap<String, String>,
    ) -> Result<(), No> {
        let statements = self.keys.get(key).map(|key| key.policy.as_slice());
        let grants = |principal: &str| {
            statements.unwrap_or_default().iter().any(|one| {
                one.principal == principal
                    && one.actions.iter().any(|known| known == action)
                    && one
                        .context
                        .as_ref()
                        .is_none_or(|(name, value)| context.get(name) == Some(value))
            })
        };
        self.combine(caller, action, key, grants)
    }

    /// Whether `caller` may assume the role with this external id.
    pub(crate) fn role_allows(
        &self,
        caller: &Caller,
        role: &str,
        external_id: Option<&str>,
    ) -> Result<(), No> {
        let trust = self.roles.get(role).map(|role| role.trust.as_slice());
        let grants = |name: &str| {
            trust.unwrap_or_default().iter().any(|one| {
                matches!(one, Trust::Aws { principal, external_id: wanted }
                    if principal == name
                        && wanted.as_deref().is_none_or(|wanted| external_id.is_some_and(|id| is_like(id, wanted))))
            })
        };
        self.combine(caller, "sts:AssumeRole", role, grants)
    }

    fn combine(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        grants: impl Fn(&str) -> bool,
    ) -> Result<(), No> {
        let (by_name, by_account) = (grants(&caller.principal), grants(&root(&caller.principal)));
        if !by_name && !by_account {
            return Err(No::Resource);
        }
        let own = caller.account() == account(resource);
        if (own && by_name) || self.identity_allows(caller, action, resource) {
            Ok(())
        } else {
            Err(No::Identity)
        }
    }
}
