//! Every check of a GCP spec that needs no network: the key's name, the credential's fields, the
//! policy. A plan exists only when all of them passed, and only a plan becomes a client.

use super::keyref::KeyRef;
use super::machine::Machine;
use super::source::Source;
use super::subject::{Base, Provider, Subject, Who};
use super::transport::Transport;
use crate::api::{GcpSpec, Reason, TenantKmsSpec};
use crate::clock::Moment;
use crate::credentials::Cluster;
use crate::policy::Policy;
use crate::policy::pattern::{is_dns_name, is_google_project};
use crate::provider::{Failure, TenantId};

/// A checked spec.
#[derive(Debug)]
pub struct Plan {
    tenant: TenantId,
    subject: Subject,
}

/// Checks in this order: key, credential's fields, policy.
pub fn plan(tenant: &TenantId, spec: &TenantKmsSpec, policy: &Policy) -> Result<Plan, Failure> {
    let subject = subject(tenant, spec)?;
    own_identity_allowed(tenant, &subject.key, &subject.who, policy)?;
    Ok(Plan {
        tenant: tenant.clone(),
        subject,
    })
}

/// Key and credential of a spec, if both are written as they must be.
pub fn subject(tenant: &TenantId, spec: &TenantKmsSpec) -> Result<Subject, Failure> {
    let none = GcpSpec::default();
    let gcp = spec.gcp.as_deref().unwrap_or(&none);
    let key = KeyRef::parse(&spec.kms_key_ref)?;
    let who = who(tenant, gcp)?;
    let billed = gcp.project_id.clone();
    if billed.as_ref().is_some_and(|id| !is_google_project(id)) {
        return Err(incomplete("projectId is no id of a project"));
    }
    let subject = Subject { who, key, billed };
    own_identity_bills_the_owner(tenant, &subject)?;
    Ok(subject)
}

impl Plan {
    /// Where the tenant's tokens come from.
    pub fn source(
        self,
        transport: &Transport,
        machine: &Machine,
        cluster: &Cluster,
        since: Option<Moment>,
    ) -> Source {
        Source {
            transport: transport.clone(),
            machine: machine.clone(),
            cluster: cluster.clone(),
            tenant: self.tenant,
            subject: self.subject,
            since,
        }
    }
}

fn who(tenant: &TenantId, gcp: &GcpSpec) -> Result<Who, Failure> {
    let base = match (&gcp.workload_identity_provider, &gcp.service_account_name) {
        (None, None) => Base::Machine,
        (Some(id), Some(name)) => {
            let provider = provider(id)
                .ok_or_else(|| incomplete("workloadIdentityProvider is no provider's name"))?;
            if !is_dns_name(name) {
                return Err(incomplete(
                    "serviceAccountName is no name of a ServiceAccount of the same namespace",
                ));
            }
            Base::Federated {
                provider,
                namespace: tenant.namespace.clone(),
                name: name.clone(),
            }
        }
        _ => {
            return Err(incomplete(
                "workloadIdentityProvider and serviceAccountName go together",
            ));
        }
    };
    let impersonates = gcp.impersonate_service_account.clone();
    if impersonates
        .as_ref()
        .is_some_and(|email| !is_account(email))
    {
        return Err(incomplete(
            "impersonateServiceAccount is no address of a service account",
        ));
    }
    Ok(Who { base, impersonates })
}

/// What stands there may be a secret that was pasted, so it is not repeated.
fn incomplete(what: &str) -> Failure {
    Failure::misconfigured(
        Reason::CredentialNotFound,
        format!(
            "spec.gcp names no whole credential: {what}. Set workloadIdentityProvider and \
             serviceAccountName together, impersonateServiceAccount with or without them, or nothing \
             for the operator's own identity: kubectl explain tenantkms.spec.gcp"
        ),
    )
}

pub fn is_provider(text: &str) -> bool {
    provider(text).is_some()
}

fn provider(text: &str) -> Option<Provider> {
    let parts: Vec<&str> = text.split('/').collect();
    let [
        "projects",
        project,
        "locations",
        "global",
        "workloadIdentityPools",
        pool,
        "providers",
        name,
    ] = parts[..]
    else {
        return None;
    };
    let plain = |text: &str| {
        (4..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let number = (1..=20).contains(&project.len()) && project.bytes().all(|b| b.is_ascii_digit());
    (number && plain(pool) && plain(name)).then(|| Provider {
        id: text.to_owned(),
        project: project.to_owned(),
        pool: pool.to_owned(),
        name: name.to_owned(),
    })
}

/// `NAME@….gserviceaccount.com`. It becomes part of a request's path.
pub fn is_account(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else {
        return false;
    };
    text.len() <= 253
        && is_dns_name(domain)
        && domain.ends_with(".gserviceaccount.com")
        && is_dns_name(name)
        && !name.contains('.')
}

/// A tenant that chooses whom the operator becomes needs a grant without `*`.
fn own_identity_allowed(
    tenant: &TenantId,
    key: &KeyRef,
    who: &Who,
    policy: &Policy,
) -> Result<(), Failure> {
    if who.base != Base::Machine {
        return Ok(());
    }
    let exactly = who.impersonates.is_some();
    let what = if exactly {
        "the operator's own identity to impersonate a service account that it names, for"
    } else {
        "the operator's own identity for"
    };
    policy.lends_own_identity(tenant, &key.id, exactly, what)
}

/// With the operator's own identity, which may have many projects billed, nobody but Google looks at whose
/// project a tenant names. The key's is the one that the policy lets the tenant use.
fn own_identity_bills_the_owner(tenant: &TenantId, subject: &Subject) -> Result<(), Failure> {
    let Subject { who, key, billed } = subject;
    let own = who.base == Base::Machine && who.impersonates.is_none();
    if !own || billed.as_ref().is_none_or(|id| *id == key.project) {
        return Ok(());
    }
    Err(Failure::denial(
        Reason::NotAllowed,
        format!(
            "tenant {tenant} uses the operator's own identity, for which spec.gcp.projectId may name \
             the key's own project alone, {}. Name that, leave it out, or use an identity of the \
             customer's: kubectl explain tenantkms.spec.gcp",
            key.project
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Kind;
    use crate::provider::gcp::keyref::tests::KEY;

    const PROVIDER: &str =
        "projects/123/locations/global/workloadIdentityPools/tenants/providers/platform";
    const EMAIL: &str = "kms@acme-prod.iam.gserviceaccount.com";

    fn planned(gcp: &serde_json::Value, allow: &str) -> Result<Plan, Failure> {
        let spec = serde_json::json!({ "provider": "gcp", "kmsKeyRef": KEY, "gcp": gcp });
        let spec: TenantKmsSpec = serde_json::from_value(spec).expect("a spec");
        let text = format!(
            "apiVersion: {}\nkind: {}\noperatorIdentity: {{ allow: [{allow}] }}\n",
            crate::policy::API_VERSION,
            crate::policy::KIND
        );
        let policy = crate::policy::parse(&text).expect("a policy");
        plan(&TenantId::new("tenants", "acme"), &spec, &policy)
    }

    fn refused(gcp: &serde_json::Value, allow: &str) -> (Kind, Reason) {
        let failure = planned(gcp, allow).expect_err("refused");
        (failure.kind, failure.reason)
    }

    #[test]
    fn the_operators_identity_needs_a_grant_and_impersonation_an_exact_one() {
        let exact = format!("{{ tenants: [tenants/acme], keys: ['{KEY}'] }}");
        let ring = KEY.replace("cryptoKeys/acme", "cryptoKeys/*");
        let wide = format!("{{ tenants: ['tenants/*'], keys: ['{ring}'] }}");
        let own = serde_json::json!({});
        let becoming = serde_json::json!({ "impersonateServiceAccount": EMAIL });
        let no = (Kind::Denial, Reason::NotAllowed);
        assert_eq!(refused(&own, ""), no);
        assert_eq!(refused(&becoming, ""), no);
        assert_eq!(refused(&becoming, &wide), no);
        for (gcp, allow) in [(&own, &wide), (&own, &exact), (&becoming, &exact)] {
            assert!(planned(gcp, allow).is_ok());
        }
        let lent = serde_json::json!({
            "workloadIdentityProvider": PROVIDER, "serviceAccountName": "acme-kms",
            "impersonateServiceAccount": EMAIL,
        });
        let plan = planned(&lent, "").expect("the tenant's own credential needs no grant");
        assert_eq!(
            plan.subject.who.describe(),
            format!("{EMAIL}, impersonated by ServiceAccount tenants/acme-kms by {PROVIDER}")
        );
    }

    #[test]
    fn the_operators_identity_has_no_project_billed_but_the_keys() {
        let exact = format!("{{ tenants: [tenants/acme], keys: ['{KEY}'] }}");
        let other = serde_json::json!({ "projectId": "birch-prod" });
        let no = (Kind::Denial, Reason::NotAllowed);
        assert_eq!(refused(&other, &exact), no);
        for theirs in [
            serde_json::json!({ "projectId": "acme-prod" }),
            serde_json::json!({ "projectId": "acme-billing", "impersonateServiceAccount": EMAIL }),
            serde_json::json!({
                "projectId": "acme-billing", "workloadIdentityProvider": PROVIDER,
                "serviceAccountName": "acme-kms",
            }),
        ] {
            assert!(planned(&theirs, &exact).is_ok(), "{theirs}");
        }
    }

    #[test]
    fn a_credential_is_whole_and_of_the_right_form() {
        let long = format!("{}@p.iam.gserviceaccount.com", "a".repeat(250));
        for gcp in [
            serde_json::json!({ "workloadIdentityProvider": PROVIDER }),
            serde_json::json!({ "serviceAccountName": "acme-kms" }),
            serde_json::json!({ "workloadIdentityProvider": format!("//iam.googleapis.com/{PROVIDER}"), "serviceAccountName": "a" }),
            serde_json::json!({ "workloadIdentityProvider": PROVIDER.replace("123", "acme"), "serviceAccountName": "a" }),
            serde_json::json!({ "workloadIdentityProvider": format!("{PROVIDER}/.."), "serviceAccountName": "a" }),
            serde_json::json!({ "workloadIdentityProvider": PROVIDER, "serviceAccountName": "A/b" }),
            serde_json::json!({ "impersonateServiceAccount": "somebody@example.com" }),
            serde_json::json!({ "impersonateServiceAccount": "a/../b@p.iam.gserviceaccount.com" }),
            serde_json::json!({ "impersonateServiceAccount": "a@evil.test/.gserviceaccount.com" }),
            serde_json::json!({ "impersonateServiceAccount": long }),
            serde_json::json!({ "projectId": "a/b" }),
        ] {
            let about = refused(&gcp, "");
            assert_eq!(
                about,
                (Kind::Misconfigured, Reason::CredentialNotFound),
                "{gcp}"
            );
        }
    }
}
