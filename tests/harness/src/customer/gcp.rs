//! Google Cloud: a key of Cloud KMS and who has the role to use it, as docs/onboard-gcp.md says.

use anyhow::{Context, Result};
use fakecloud::gcp::{IAM_CREDENTIALS_HOST, STS_HOST};
use fakecloud::{CryptoKey, KMS_HOST, VersionState};
use serde_json::{Value, json};

use super::{Lent, Owner};
use crate::Env;

/// The service account of the machine that the operator runs on.
const OPERATOR: &str = "tenant-kms-operator@platform-1.iam.gserviceaccount.com";
const USE: &str = "roles/cloudkms.cryptoKeyEncrypterDecrypter";
const IMPERSONATE: &str = "roles/iam.serviceAccountTokenCreator";

#[derive(Debug)]
pub(super) struct Gcp {
    iam: fakecloud::Gcp,
    key: CryptoKey,
    /// Who uses the key, as IAM names it.
    member: String,
}

impl Gcp {
    pub fn of(env: &Env, spec: &Value, lent: &Lent<'_>) -> Result<Self> {
        let text = |field: &str| spec["gcp"][field].as_str();
        let key = spec["kmsKeyRef"].as_str().context("a key's name")?;
        let project = key.split('/').nth(1).context("a project")?;
        let gcp = env.cloud.gcp();
        let operator = gcp.service_account(OPERATOR);
        gcp.machine_account(Some(&operator));
        let mut member = operator.member();
        if let (Some(provider), Some(account)) =
            (text("workloadIdentityProvider"), text("serviceAccountName"))
        {
            let number = provider.split('/').nth(1).unwrap_or_default();
            gcp.project_numbered(project, number.parse()?);
            let provider = gcp.provider(provider, lent.issuer);
            member = provider.principal(&lent.subject(account));
        }
        if let Some(email) = text("impersonateServiceAccount") {
            let customers = gcp.service_account(email);
            gcp.grant(&customers.resource(), &member, IMPERSONATE)?;
            member = customers.member();
        }
        let key = gcp.create_key(key);
        gcp.grant(key.name(), &member, USE)?;
        Ok(Self {
            iam: gcp,
            key,
            member,
        })
    }
}

impl Owner for Gcp {
    fn say_no(&self) {
        self.iam.revoke(self.key.name(), &self.member);
    }

    fn say_yes(&self) {
        self.iam
            .grant(self.key.name(), &self.member, USE)
            .expect("granted before");
    }

    fn disable(&self) {
        self.key.set_states(VersionState::Disabled);
    }

    fn enable(&self) {
        self.key.set_states(VersionState::Enabled);
    }

    fn rotate(&self) -> Option<String> {
        Some(self.key.rotate().to_string())
    }

    fn delete(&self) {
        self.key.set_states(VersionState::DestroyScheduled);
    }

    fn hosts(&self) -> Vec<String> {
        [KMS_HOST, STS_HOST, IAM_CREDENTIALS_HOST]
            .map(str::to_owned)
            .into()
    }

    fn principal(&self) -> String {
        self.member.clone()
    }

    fn commands(&self) -> [Value; 4] {
        let grant = |verb: &str| json!({ "on": "gcp", "do": verb, "resource": self.key.name(), "member": self.member, "role": USE });
        let state = |state: &str| json!({ "on": "crypto-key", "name": self.key.name(), "do": "state", "state": state });
        [
            grant("revoke"),
            grant("grant"),
            state("DISABLED"),
            state("ENABLED"),
        ]
    }
}
