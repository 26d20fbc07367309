//! Who uses which key, as messages name it, and the commands that mend things. Every argument is
//! single-quoted, and everything here was validated before it got here.

use super::keyref::KeyRef;
use crate::credentials::quoted;

const POOLS: &str = "gcloud iam workload-identity-pools list --location 'global'";

/// The identity that calls Cloud KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub base: Base,
    /// The customer's service account that it becomes, as an e-mail address.
    pub impersonates: Option<String>,
}

/// What the first token is bought with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The service account of the node or pod, from the metadata server.
    Machine,
    /// A `ServiceAccount` of the tenant's namespace, exchanged at a provider.
    Federated {
        provider: Provider,
        namespace: String,
        name: String,
    },
}

/// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    pub id: String,
    pub project: String,
    pub pool: String,
    pub name: String,
}

/// What a failure is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub who: Who,
    pub key: KeyRef,
    /// `spec.gcp.projectId`.
    pub billed: Option<String>,
}

impl Base {
    fn describe(&self) -> String {
        match self {
            Self::Machine => "the operator's own service account".to_owned(),
            Self::Federated {
                provider,
                namespace,
                name,
            } => format!("ServiceAccount {namespace}/{name} by {}", provider.id),
        }
    }

    /// As IAM names it in a binding. `own` is the operator's address or principal, as far as known.
    fn member(&self, own: Option<&str>) -> String {
        match self {
            Self::Machine => match own {
                Some(email) if email.ends_with(".gserviceaccount.com") => {
                    format!("serviceAccount:{email}")
                }
                Some(principal) if principal.starts_with("principal://") => principal.to_owned(),
                // GKE without a service account of Google's, whose metadata server does not tell.
                _ => "<principal of the operator>".to_owned(),
            },
            Self::Federated { provider, .. } => format!(
                "principal://iam.googleapis.com/projects/{}/locations/global/workloadIdentityPools/{}/subject/{}",
                provider.project,
                provider.pool,
                self.account().unwrap_or_default()
            ),
        }
    }

    /// The `sub` of the `ServiceAccount`'s tokens.
    pub fn account(&self) -> Option<String> {
        match self {
            Self::Machine => None,
            Self::Federated {
                namespace, name, ..
            } => Some(format!("system:serviceaccount:{namespace}:{name}")),
        }
    }
}

impl Who {
    /// For people: status, events, messages.
    pub fn describe(&self) -> String {
        match &self.impersonates {
            None => self.base.describe(),
            Some(email) => format!("{email}, impersonated by {}", self.base.describe()),
        }
    }
}

impl Subject {
    /// The key as `gcloud kms keys` takes it.
    fn place(&self) -> String {
        format!(
            "{} --keyring {} --location {} --project {}",
            quoted(&self.key.key),
            quoted(&self.key.ring),
            quoted(&self.key.location),
            quoted(&self.key.project)
        )
    }

    /// Who calls Cloud KMS, as IAM names it in a binding.
    pub fn caller(&self, own: Option<&str>) -> String {
        match &self.who.impersonates {
            Some(email) => format!("serviceAccount:{email}"),
            None => self.who.base.member(own),
        }
    }

    /// Gives the role that wraps and unwraps, on this key alone.
    pub fn grant_key(&self, own: Option<&str>) -> String {
        let member = self.caller(own);
        format!(
            "gcloud kms keys add-iam-policy-binding {} --role \
             'roles/cloudkms.cryptoKeyEncrypterDecrypter' --member {}",
            self.place(),
            quoted(&member)
        )
    }

    /// Lets the first identity become the service account.
    pub fn grant_impersonation(&self, own: Option<&str>) -> String {
        let email = self
            .who
            .impersonates
            .as_deref()
            .unwrap_or("<service account>");
        let role = match self.who.base {
            Base::Machine => "roles/iam.serviceAccountTokenCreator",
            Base::Federated { .. } => "roles/iam.workloadIdentityUser",
        };
        format!(
            "gcloud iam service-accounts add-iam-policy-binding {} --role '{role}' --member {}",
            quoted(email),
            quoted(&self.who.base.member(own))
        )
    }

    pub fn describe_key(&self) -> String {
        format!("gcloud kms keys describe {}", self.place())
    }

    /// `gcloud kms keys versions VERB` on one version.
    pub fn version(&self, verb: &str, version: &str) -> String {
        format!(
            "gcloud kms keys versions {verb} {} --key {}",
            quoted(version),
            self.place()
        )
    }

    /// `gcloud iam workload-identity-pools providers VERB` on the provider.
    pub fn provider(&self, verb: &str, options: &str) -> String {
        let Base::Federated { provider, .. } = &self.who.base else {
            return POOLS.to_owned();
        };
        format!(
            "gcloud iam workload-identity-pools providers {verb} {} --workload-identity-pool {} \
             --location 'global' --project {}{options}",
            quoted(&provider.name),
            quoted(&provider.pool),
            quoted(&provider.project)
        )
    }

    /// `gcloud iam workload-identity-pools VERB` on the provider's pool.
    pub fn pool(&self, verb: &str, options: &str) -> String {
        let Base::Federated { provider, .. } = &self.who.base else {
            return POOLS.to_owned();
        };
        format!(
            "gcloud iam workload-identity-pools {verb} {} --location 'global' --project {}{options}",
            quoted(&provider.pool),
            quoted(&provider.project)
        )
    }
}

/// Answers from the network position of whoever runs it, without a credential.
pub fn reach(host: &str) -> String {
    format!("curl --verbose {}", quoted(&format!("https://{host}/")))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::provider::gcp::keyref::tests::KEY;

    pub fn provider() -> Provider {
        Provider {
            id: "projects/123/locations/global/workloadIdentityPools/tenants/providers/platform"
                .to_owned(),
            project: "123".to_owned(),
            pool: "tenants".to_owned(),
            name: "platform".to_owned(),
        }
    }

    pub fn subject(base: Base, impersonates: Option<&str>) -> Subject {
        Subject {
            who: Who {
                base,
                impersonates: impersonates.map(str::to_owned),
            },
            key: KeyRef::parse(KEY).expect("valid"),
            billed: None,
        }
    }

    pub fn machine() -> Subject {
        subject(Base::Machine, None)
    }

    pub fn federated(impersonates: Option<&str>) -> Subject {
        let base = Base::Federated {
            provider: provider(),
            namespace: "tenants".to_owned(),
            name: "acme-kms".to_owned(),
        };
        subject(base, impersonates)
    }

    #[test]
    fn commands_quote_every_argument_and_name_the_right_member() {
        assert_eq!(
            machine().grant_key(Some("op@p.iam.gserviceaccount.com")),
            "gcloud kms keys add-iam-policy-binding 'acme' --keyring 'tenants' --location 'europe-west3' \
             --project 'acme-prod' --role 'roles/cloudkms.cryptoKeyEncrypterDecrypter' --member \
             'serviceAccount:op@p.iam.gserviceaccount.com'"
        );
        let unknown = machine().grant_key(Some("p.svc.id.goog"));
        assert!(
            unknown.ends_with("'<principal of the operator>'"),
            "{unknown}"
        );
        let principal = "'principal://iam.googleapis.com/projects/123/locations/global/\
                         workloadIdentityPools/tenants/subject/system:serviceaccount:tenants:acme-kms'";
        assert!(federated(None).grant_key(None).ends_with(principal));
        let both = federated(Some("kms@acme-prod.iam.gserviceaccount.com"));
        assert!(both.grant_impersonation(None).ends_with(principal));
        assert!(
            both.grant_impersonation(None)
                .contains("'roles/iam.workloadIdentityUser'")
        );
        assert!(
            both.grant_key(None)
                .ends_with("'serviceAccount:kms@acme-prod.iam.gserviceaccount.com'")
        );
    }
}
