//! AWS: a key of KMS and the role that may use it, as docs/onboard-aws.md says; or the operator's own role.

use anyhow::{Context, Result};
use fakecloud::aws::key::{Key, Status, USE};
use fakecloud::aws::region::host;
use fakecloud::aws::role::Role;
use serde_json::{Value, json};

use super::{Lent, Owner};
use crate::Env;

/// The role of the node that the operator runs on.
const OPERATOR: &str = "arn:aws:iam::111122223333:role/tenant-kms-operator";
const AUDIENCE: &str = "sts.amazonaws.com";

#[derive(Debug)]
pub(super) struct Aws {
    key: Key,
    /// Who uses the key.
    role: Role,
    region: String,
}

impl Aws {
    pub fn of(env: &Env, spec: &Value, lent: &Lent<'_>) -> Result<Self> {
        let text = |field: &str| spec["aws"][field].as_str();
        let arn = spec["kmsKeyRef"].as_str().context("a key's ARN")?;
        let [_, _, _, region, account, _] = arn.split(':').collect::<Vec<_>>()[..] else {
            anyhow::bail!("no key's ARN: {arn}");
        };
        let aws = env.cloud.aws();
        let operator = aws.role(OPERATOR);
        operator.allow(&["sts:AssumeRole"], "*");
        aws.instance_role(Some(OPERATOR));
        let key = aws.create_key_as(arn);
        // Who may use it is said by its own policy, role by role.
        key.revoke_account();
        let role = aws.role(text("roleArn").unwrap_or(OPERATOR));
        role.allow(&USE, key.arn());
        if let (Some(_), Some(name)) = (text("roleArn"), text("serviceAccountName")) {
            aws.oidc_provider(account, lent.issuer, &[AUDIENCE]);
            role.trust_web_identity(lent.issuer, &lent.subject(name), AUDIENCE);
        }
        let owner = Self {
            key,
            role,
            region: region.to_owned(),
        };
        owner.say_yes();
        Ok(owner)
    }
}

impl Owner for Aws {
    fn say_no(&self) {
        self.key.revoke(self.role.arn());
    }

    fn say_yes(&self) {
        self.key.grant(self.role.arn());
    }

    fn disable(&self) {
        self.key.set_status(Status::Disabled);
    }

    fn enable(&self) {
        self.key.set_status(Status::Enabled);
    }

    /// AWS tells nobody which material wrapped something.
    fn rotate(&self) -> Option<String> {
        self.key.rotate();
        None
    }

    fn delete(&self) {
        self.key.set_status(Status::PendingDeletion);
    }

    fn trust(&self, external_id: &str) {
        self.role.trust(OPERATOR, Some(external_id));
    }

    fn hosts(&self) -> Vec<String> {
        vec![self.key.host(), host("sts", &self.region)]
    }

    fn principal(&self) -> String {
        self.role.arn().to_owned()
    }

    fn commands(&self) -> [Value; 4] {
        let (arn, role) = (self.key.arn(), self.role.arn());
        let policy =
            |verb: &str| json!({ "on": "aws-key", "arn": arn, "do": verb, "principal": role });
        let key = |verb: &str| json!({ "on": "aws-key", "arn": arn, "do": verb });
        [
            policy("revoke"),
            policy("grant"),
            key("disable"),
            key("enable"),
        ]
    }
}
