//! Roles (and the policies of users) as their owner changes them. What a change means for a request is decided in
//! `access`; this file keeps the facts.

use std::sync::Arc;
use std::time::Duration;

use crate::aws::access::{Permission, Trust};
use crate::world::World;

#[derive(Debug)]
pub(crate) struct RoleState {
    pub(crate) id: String,
    pub(crate) trust: Vec<Trust>,
    pub(crate) permissions: Vec<Permission>,
    /// `MaxSessionDuration`.
    pub(crate) longest: Duration,
}

impl Default for RoleState {
    fn default() -> Self {
        Self {
            id: super::caller::identifier("AROA"),
            trust: Vec::new(),
            permissions: Vec::new(),
            longest: Duration::from_hours(1),
        }
    }
}

/// One role.
#[derive(Debug, Clone)]
pub struct Role {
    world: Arc<World>,
    arn: String,
}

impl Role {
    pub(crate) fn open(world: &Arc<World>, arn: &str) -> Self {
        world.aws().roles.entry(arn.to_owned()).or_default();
        Self {
            world: world.clone(),
            arn: arn.to_owned(),
        }
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Lets a user, a role or an account (`arn:…:root`) assume it; with an external id, only with that, or with all
    /// that begin like it where a `*` ends it.
    pub fn trust(&self, principal: &str, external_id: Option<&str>) {
        self.add(Trust::Aws {
            principal: principal.to_owned(),
            external_id: external_id.map(str::to_owned),
        });
    }

    /// Lets the bearer of a token of this issuer, subject and audience assume it.
    pub fn trust_web_identity(&self, issuer: &str, subject: &str, audience: &str) {
        self.add(Trust::WebIdentity {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audience: audience.to_owned(),
        });
    }

    fn add(&self, trust: Trust) {
        self.change(|role| {
            if !role.trust.contains(&trust) {
                role.trust.push(trust);
            }
        });
    }

    /// Empties the trust policy. Sessions that were begun go on, as in AWS.
    pub fn trust_nobody(&self) {
        self.change(|role| role.trust.clear());
    }

    /// Adds to its own permissions; `*` may end the resource.
    pub fn allow(&self, actions: &[&str], resource: &str) {
        self.change(|role| {
            role.permissions
                .extend(actions.iter().map(|&action| Permission {
                    action: action.to_owned(),
                    resource: resource.to_owned(),
                }));
        });
    }

    /// Takes all its own permissions, which sessions that were begun feel too.
    pub fn allow_nothing(&self) {
        self.change(|role| role.permissions.clear());
    }

    pub fn longest_session(&self, longest: Duration) {
        self.change(|role| role.longest = longest);
    }

    /// Gone; sessions that were begun may do nothing any more.
    pub fn delete(&self) {
        self.world.aws().roles.remove(&self.arn);
    }

    fn change(&self, change: impl FnOnce(&mut RoleState)) {
        if let Some(role) = self.world.aws().roles.get_mut(&self.arn) {
            change(role);
        }
    }
}
