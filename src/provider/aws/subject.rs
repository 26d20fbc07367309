//! Who asks for which key, as messages and commands tell it. Every argument of a command is quoted.

use serde_json::json;

use super::keyref::{KeyRef, Names};
pub(super) use crate::credentials::quoted;

/// Whose permissions the calls to KMS are made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The operator's own identity.
    Own,
    /// The customer's role, assumed by the operator's own identity with this external id.
    Role { arn: String, external_id: String },
    /// The customer's role, assumed with the token of a `ServiceAccount`, `namespace/name`.
    ServiceAccount { arn: String, account: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub who: Who,
    pub key: KeyRef,
    /// What the operator's own identity is, where the pod was told: a role's ARN.
    pub own: Option<String>,
    /// What the customer sees in CloudTrail.
    pub session: String,
    /// What a grant or a policy for this tenant is called, and for no other: so that whoever runs a command
    /// twice has one, and takes all when taking it.
    pub label: String,
}

impl Who {
    /// For people; never a secret.
    pub fn describe(&self) -> String {
        match self {
            Self::Own => "the operator's own identity".to_owned(),
            Self::Role { arn, .. } => format!("role {arn}"),
            Self::ServiceAccount { arn, account } => {
                format!("role {arn} of ServiceAccount {account}")
            }
        }
    }

    /// The role that the customer gave, if one is assumed.
    pub fn role(&self) -> Option<&str> {
        match self {
            Self::Own => None,
            Self::Role { arn, .. } | Self::ServiceAccount { arn, .. } => Some(arn),
        }
    }
}

impl Subject {
    pub fn kms_host(&self) -> String {
        self.key.region.host("kms")
    }

    pub fn sts_host(&self) -> String {
        self.key.region.host("sts")
    }

    /// `aws kms VERB` on this key, in its region. Of an alias most verbs know nothing.
    pub fn key_command(&self, verb: &str, options: &str) -> String {
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(" {options}")
        };
        let (region, named) = (quoted(&self.key.region.name), quoted(&self.key.arn));
        let key = if self.key.is_alias() && verb != "describe-key" {
            format!(
                "\"$(aws kms describe-key --region {region} --key-id {named} --query KeyMetadata.Arn \
                 --output text)\""
            )
        } else {
            named
        };
        format!("aws kms {verb} --region {region} --key-id {key}{options}")
    }

    /// Lets whoever asks use this key, by a grant on the key alone.
    pub fn grant_key(&self) -> String {
        let principal = self.who.role().or(self.own.as_deref());
        let principal = principal.unwrap_or("<ARN of the operator's role>");
        let grantee = format!(
            "--grantee-principal {} --operations Encrypt Decrypt DescribeKey --name {}",
            quoted(principal),
            quoted(&self.label)
        );
        self.key_command("create-grant", &grantee)
    }

    /// Makes the customer's role trust what presents itself, and nothing else.
    pub fn trust_role(&self) -> String {
        let Some((role, policy)) = self.who.role().zip(self.trust_policy(None)) else {
            return self.who_am_i();
        };
        format!(
            "aws iam update-assume-role-policy --role-name {} --policy-document {}",
            quoted(role_name(role)),
            quoted(&policy)
        )
    }

    /// The trust policy of the customer's role. `issuer` is the cluster's, where it is known.
    pub fn trust_policy(&self, issuer: Option<&str>) -> Option<String> {
        let statement = match &self.who {
            Who::Own => return None,
            Who::Role { external_id, .. } => json!({
                "Effect": "Allow",
                "Principal": {
                    "AWS": self.own.as_deref().unwrap_or("<ARN of the operator's role>"),
                },
                "Action": "sts:AssumeRole",
                "Condition": { "StringEquals": { "sts:ExternalId": external_id } },
            }),
            Who::ServiceAccount { arn, account } => {
                let subject = account.replacen('/', ":", 1);
                let issuer = issuer.map_or("<issuer without https://>", |issuer| {
                    issuer.trim_start_matches("https://")
                });
                json!({
                    "Effect": "Allow",
                    "Principal": { "Federated": self.oidc_provider(arn, issuer) },
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": { "StringEquals": {
                        format!("{issuer}:aud"): super::means::AUDIENCE,
                        format!("{issuer}:sub"): format!("system:serviceaccount:{subject}"),
                    }},
                })
            }
        };
        Some(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string())
    }

    /// Of the role's account; `issuer` without `https://`.
    pub fn oidc_provider(&self, role: &str, issuer: &str) -> String {
        let (partition, account) = (self.key.region.partition, account_of(role));
        format!("arn:{partition}:iam::{account}:oidc-provider/{issuer}")
    }

    /// Says who the operator is; to be run in its pod's place.
    pub fn who_am_i(&self) -> String {
        format!(
            "aws sts get-caller-identity --region {}",
            quoted(&self.key.region.name)
        )
    }

    pub fn key_name(&self) -> String {
        match &self.key.names {
            Names::Key(_) => format!("key {}", self.key.arn),
            Names::Alias(_) => format!("alias {}", self.key.arn),
        }
    }
}

/// Answers from the network position of whoever runs it, without a credential.
pub fn reach(host: &str) -> String {
    format!("curl --verbose {}", quoted(&format!("https://{host}/")))
}

/// A role's name without its path, as `--role-name` takes it.
pub fn role_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const KEY: &str =
        "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    pub fn subject(who: Who) -> Subject {
        Subject {
            who,
            key: KeyRef::parse(KEY).expect("a key"),
            own: Some("arn:aws:iam::111122223333:role/operator".to_owned()),
            session: "tenant-kms-tenants-acme".to_owned(),
            label: "tkms-fedcba9876543210fedcba9876543210".to_owned(),
        }
    }

    pub fn role() -> Who {
        Who::Role {
            arn: "arn:aws:iam::444455556666:role/byok/acme-kms".to_owned(),
            external_id: "tkms-0123".to_owned(),
        }
    }

    pub fn account() -> Who {
        Who::ServiceAccount {
            arn: "arn:aws:iam::444455556666:role/acme-kms".to_owned(),
            account: "tenants/acme".to_owned(),
        }
    }

    #[test]
    fn commands_name_what_they_are_about() {
        let asked = subject(role());
        assert_eq!(
            asked.key_command("enable-key", ""),
            format!("aws kms enable-key --region 'eu-central-1' --key-id '{KEY}'")
        );
        let alias = Subject {
            key: KeyRef::parse("arn:aws:kms:eu-central-1:444455556666:alias/acme").expect("one"),
            ..asked.clone()
        };
        assert!(alias.grant_key().contains(
            "--key-id \"$(aws kms describe-key --region 'eu-central-1' --key-id \
             'arn:aws:kms:eu-central-1:444455556666:alias/acme' --query KeyMetadata.Arn"
        ));
        let trust = asked.trust_role();
        assert!(
            trust.starts_with("aws iam update-assume-role-policy --role-name 'acme-kms' "),
            "{trust}"
        );
        for part in [
            r#""sts:ExternalId":"tkms-0123""#,
            r#""AWS":"arn:aws:iam::111122223333:role/operator""#,
        ] {
            assert!(trust.contains(part), "{trust}");
        }
        let federated = subject(account()).trust_role();
        assert!(
            federated.contains(r#":sub":"system:serviceaccount:tenants:acme""#),
            "{federated}"
        );
    }
}
