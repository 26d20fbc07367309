//! Every check of an AWS spec that needs no network: the key's ARN, the credential's fields, the policy.
//! A plan exists only when all of them passed.

use super::keyref::KeyRef;
use super::means::choose;
use super::own::Own;
use super::subject::{Subject, Who};
use crate::api::{AwsSpec, TenantKmsSpec};
use crate::policy::Policy;
use crate::provider::{Failure, TenantId};
use crate::record::store::secret_name;

/// A role session's name has at most this many characters.
const SESSION_NAME: usize = 64;

/// A checked spec; its subject's key is the one of the spec, which may be an alias.
pub fn plan(
    tenant: &TenantId,
    spec: &TenantKmsSpec,
    external_id: Option<&str>,
    policy: &Policy,
    own: &Own,
) -> Result<Subject, Failure> {
    let subject = subject(tenant, spec, external_id, own.role())?;
    own_identity_allowed(tenant, &subject.key, &subject.who, policy)?;
    Ok(subject)
}

/// What a spec is about, allowed or not. `own` is the operator's role, where it is known.
pub fn subject(
    tenant: &TenantId,
    spec: &TenantKmsSpec,
    external_id: Option<&str>,
    own: Option<&str>,
) -> Result<Subject, Failure> {
    let none = AwsSpec::default();
    let aws = spec.aws.as_deref().unwrap_or(&none);
    let key = KeyRef::parse(&spec.kms_key_ref)?;
    key.check_region(aws)?;
    let who = choose(tenant, aws, &key, external_id)?;
    let mut session = format!("tenant-kms-{}-{}", tenant.namespace, tenant.name);
    session.truncate(SESSION_NAME);
    Ok(Subject {
        who,
        key,
        own: own.map(str::to_owned),
        session,
        label: secret_name(tenant),
    })
}

/// A role that trusts the operator needs a grant that names tenant and key: a tenant chooses both, and
/// whatever else trusts the operator must stay out of its reach.
fn own_identity_allowed(
    tenant: &TenantId,
    key: &KeyRef,
    who: &Who,
    policy: &Policy,
) -> Result<(), Failure> {
    let (exactly, what) = match who {
        Who::ServiceAccount { .. } => return Ok(()),
        Who::Own => (false, "the operator's own identity for"),
        Who::Role { .. } => (true, "a role that the operator's own identity assumes for"),
    };
    policy.lends_own_identity(tenant, &key.arn, exactly, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ProviderKind, Reason};
    use crate::policy;
    use crate::provider::Kind;
    use crate::provider::aws::subject::tests::KEY;

    fn planned(tenants: &str, keys: &str, fields: serde_json::Value) -> Result<Subject, Failure> {
        let file = format!(
            "apiVersion: {}\nkind: {}\noperatorIdentity: {{ allow: [{{ tenants: ['{tenants}'], \
             keys: ['{keys}'] }}] }}\n",
            policy::API_VERSION,
            policy::KIND
        );
        let spec = TenantKmsSpec {
            aws: serde_json::from_value(fields).expect("a block"),
            ..TenantKmsSpec::new(ProviderKind::Aws, KEY)
        };
        let tenant = TenantId::new("tenants", "acme");
        let policy = policy::parse(&file).expect("a policy");
        plan(&tenant, &spec, Some("tkms-1"), &policy, &Own::of(|_| None))
    }

    #[test]
    fn a_role_that_trusts_the_operator_is_named_and_its_own_identity_allowed() {
        let role = serde_json::json!({ "roleArn": "arn:aws:iam::444455556666:role/acme" });
        let other = KEY.replace("0ab", "0ac");
        let every = "arn:aws:kms:eu-central-1:444455556666:key/*";
        let elsewhere = every.replace("eu-central-1", "eu-west-1");
        for (tenants, keys, own_may, role_may) in [
            ("tenants/acme", KEY, true, true),
            ("tenants/*", KEY, true, false),
            ("tenants/acme", every, true, false),
            ("tenants/*", every, true, false),
            ("tenants/globex", KEY, false, false),
            ("tenants/acme", other.as_str(), false, false),
            ("tenants/acme", elsewhere.as_str(), false, false),
        ] {
            for (fields, may) in [(serde_json::json!({}), own_may), (role.clone(), role_may)] {
                match planned(tenants, keys, fields) {
                    Ok(subject) => {
                        assert!(may, "{tenants} {keys}");
                        assert_eq!(subject.session, "tenant-kms-tenants-acme");
                    }
                    Err(failure) => {
                        assert!(!may, "{tenants} {keys}: {failure}");
                        let is = (failure.kind, failure.reason);
                        assert_eq!(is, (Kind::Denial, Reason::NotAllowed));
                    }
                }
            }
        }
    }

    #[test]
    fn a_tenant_s_own_service_account_needs_no_grant() {
        let fields = serde_json::json!({
            "roleArn": "arn:aws:iam::444455556666:role/acme", "serviceAccountName": "acme",
        });
        assert!(planned("others/*", "local://*", fields).is_ok());
    }
}
