//! Commands on AWS, one for each method of the library's handles. They make what they name, as the library does.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::commands::nothing;
use crate::aws::Aws;
use crate::aws::key::{KeyOptions, Status, USE};
use crate::world::World;

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum AwsCommand {
    /// Answers `{id, secret}`.
    User {
        arn: String,
    },
    RemoveAccessKey {
        id: String,
    },
    OidcProvider {
        account: String,
        issuer: String,
        audiences: Vec<String>,
    },
    RemoveOidcProvider {
        account: String,
        issuer: String,
    },
    InstanceRole {
        role: Option<String>,
    },
    PodIdentity {
        subject: String,
        role: String,
    },
    ClockAhead {
        seconds: i64,
    },
    ExpireSessions,
    PointAlias {
        alias: String,
        key: String,
    },
    DeleteAlias {
        alias: String,
    },
}

impl AwsCommand {
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let aws = Aws::open(world);
        match self {
            Self::User { arn } => {
                let key = aws.user(&arn);
                return json!({ "id": key.id, "secret": key.secret });
            }
            Self::RemoveAccessKey { id } => aws.remove_access_key(&id),
            Self::OidcProvider {
                account,
                issuer,
                audiences,
            } => {
                let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
                aws.oidc_provider(&account, &issuer, &audiences);
            }
            Self::RemoveOidcProvider { account, issuer } => {
                aws.remove_oidc_provider(&account, &issuer);
            }
            Self::InstanceRole { role } => aws.instance_role(role.as_deref()),
            Self::PodIdentity { subject, role } => aws.pod_identity(&subject, &role),
            Self::ClockAhead { seconds } => aws.set_clock_ahead(seconds),
            Self::ExpireSessions => aws.expire_sessions(),
            Self::PointAlias { alias, key } => aws.point_alias(&alias, &aws.key(&key)),
            Self::DeleteAlias { alias } => aws.delete_alias(&alias),
        }
        nothing()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RoleCommand {
    arn: String,
    #[serde(flatten)]
    change: RoleChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum RoleChange {
    Open,
    Trust {
        principal: String,
        external_id: Option<String>,
    },
    TrustWebIdentity {
        issuer: String,
        subject: String,
        audience: String,
    },
    TrustNobody,
    Allow {
        actions: Vec<String>,
        resource: String,
    },
    AllowNothing,
    LongestSession {
        seconds: u64,
    },
    Delete,
}

impl RoleCommand {
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let role = Aws::open(world).role(&self.arn);
        match self.change {
            RoleChange::Open => {}
            RoleChange::Trust {
                principal,
                external_id,
            } => role.trust(&principal, external_id.as_deref()),
            RoleChange::TrustWebIdentity {
                issuer,
                subject,
                audience,
            } => role.trust_web_identity(&issuer, &subject, &audience),
            RoleChange::TrustNobody => role.trust_nobody(),
            RoleChange::Allow { actions, resource } => {
                let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
                role.allow(&actions, &resource);
            }
            RoleChange::AllowNothing => role.allow_nothing(),
            RoleChange::LongestSession { seconds } => {
                role.longest_session(Duration::from_secs(seconds));
            }
            RoleChange::Delete => role.delete(),
        }
        nothing()
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum AwsKeyCommand {
    /// Answers `{arn}`.
    Create {
        account: String,
        region: String,
        #[serde(default)]
        asymmetric: bool,
        #[serde(default)]
        multi_region: bool,
    },
    Grant {
        arn: String,
        principal: String,
        actions: Option<Vec<String>>,
        context: Option<(String, String)>,
    },
    Revoke {
        arn: String,
        principal: String,
    },
    RevokeAccount {
        arn: String,
    },
    Enable {
        arn: String,
    },
    Disable {
        arn: String,
    },
    ScheduleDeletion {
        arn: String,
    },
    DeleteMaterial {
        arn: String,
    },
    DisconnectStore {
        arn: String,
    },
    Rotate {
        arn: String,
    },
    Delete {
        arn: String,
    },
}

impl AwsKeyCommand {
    pub(super) fn run(self, world: &Arc<World>) -> Value {
        let aws = Aws::open(world);
        match self {
            Self::Create {
                account,
                region,
                asymmetric,
                multi_region,
            } => {
                let spec = if asymmetric {
                    "RSA_2048"
                } else {
                    "SYMMETRIC_DEFAULT"
                };
                let options = KeyOptions {
                    spec,
                    multi_region,
                    ..KeyOptions::default()
                };
                let key = aws.create_key_with(&account, &region, options);
                return json!({ "arn": key.arn() });
            }
            Self::Grant {
                arn,
                principal,
                actions,
                context,
            } => {
                let named: Vec<&str> = actions.iter().flatten().map(String::as_str).collect();
                let actions = if actions.is_some() {
                    named
                } else {
                    USE.to_vec()
                };
                let context = context
                    .as_ref()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                aws.key(&arn).grant_only(&principal, &actions, context);
            }
            Self::Revoke { arn, principal } => aws.key(&arn).revoke(&principal),
            Self::RevokeAccount { arn } => aws.key(&arn).revoke_account(),
            Self::Enable { arn } => aws.key(&arn).set_status(Status::Enabled),
            Self::Disable { arn } => aws.key(&arn).set_status(Status::Disabled),
            Self::ScheduleDeletion { arn } => aws.key(&arn).set_status(Status::PendingDeletion),
            Self::DeleteMaterial { arn } => aws.key(&arn).set_status(Status::PendingImport),
            Self::DisconnectStore { arn } => aws.key(&arn).set_status(Status::Unavailable),
            Self::Rotate { arn } => aws.key(&arn).rotate(),
            Self::Delete { arn } => aws.key(&arn).delete(),
        }
        nothing()
    }
}
