//! Whose permissions the fields of a spec ask for, and what proves it. There is no fallback from one to
//! another.

use super::keyref::{KeyRef, is_role};
use super::subject::Who;
use crate::api::{AwsSpec, Reason};
use crate::policy::pattern::is_dns_name;
use crate::provider::{Failure, TenantId};

/// Of the tokens that assume a role; docs.aws.amazon.com, Amazon EKS User Guide, "IAM roles for service
/// accounts".
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// `external_id` is this tenant's, where there is a record that it comes from.
pub fn choose(
    tenant: &TenantId,
    aws: &AwsSpec,
    key: &KeyRef,
    external_id: Option<&str>,
) -> Result<Who, Failure> {
    let Some(role) = &aws.role_arn else {
        if aws.service_account_name.is_some() || aws.external_id.is_some() {
            return Err(incomplete());
        }
        return Ok(Who::Own);
    };
    if !is_role(role, key.region.partition) {
        return Err(Failure::misconfigured(
            Reason::CredentialNotFound,
            format!(
                "spec.aws.roleArn is no ARN of a role in the partition of the key ({}). Write it as \
                 printed by: aws iam get-role --role-name '<role>' --query Role.Arn --output text",
                key.region.partition
            ),
        ));
    }
    match &aws.service_account_name {
        Some(_) if aws.external_id.is_some() => Err(incomplete()),
        Some(name) if !is_dns_name(name) => Err(Failure::misconfigured(
            Reason::IdentityUnavailable,
            "spec.aws.serviceAccountName does not hold the name of an object of the same namespace. \
             Write a name as printed by: kubectl get serviceaccounts --namespace '<namespace>'",
        )),
        Some(name) => Ok(Who::ServiceAccount {
            arn: role.clone(),
            account: format!("{}/{name}", tenant.namespace),
        }),
        None => Ok(Who::Role {
            arn: role.clone(),
            external_id: issued(tenant, aws.external_id.as_deref(), external_id)?,
        }),
    }
}

/// The tenant's own external id. Whoever could choose one could name another customer's.
fn issued(
    tenant: &TenantId,
    written: Option<&str>,
    issued: Option<&str>,
) -> Result<String, Failure> {
    match (written, issued) {
        (None, Some(issued)) => Ok(issued.to_owned()),
        (Some(written), Some(issued)) if written == issued => Ok(issued.to_owned()),
        (Some(_), Some(issued)) => Err(Failure::misconfigured(
            Reason::NotAllowed,
            format!(
                "spec.aws.externalId is not the one that the operator issued to tenant {tenant}, \
                 which is {issued}. Nothing was sent. Leave it out, and let the role's trust policy \
                 name that one: kubectl get tkms '{}' --namespace '{}' --output \
                 jsonpath='{{.status.externalId}}'",
                tenant.name, tenant.namespace
            ),
        )),
        // Outside a cluster nothing is issued, and nobody else's role is in reach of who runs it.
        (Some(written), None) => Ok(written.to_owned()),
        (None, None) => Err(Failure::misconfigured(
            Reason::CredentialNotFound,
            "the role of spec.aws.roleArn is assumed with an external id that the operator issues, \
             and here there is no operator. Nothing was sent. Apply the manifest, then read it: \
             kubectl get tkms '<name>' --namespace '<namespace>' --output \
             jsonpath='{.status.externalId}'",
        )),
    }
}

fn incomplete() -> Failure {
    Failure::misconfigured(
        Reason::CredentialNotFound,
        "spec.aws names no whole credential, or more than one. Set roleArn alone for a role that \
         the operator assumes, roleArn with serviceAccountName for one that the tenant's own \
         ServiceAccount assumes, or nothing for the operator's own identity: kubectl explain \
         tenantkms.spec.aws",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::aws::subject::tests::KEY;

    const ROLE: &str = "arn:aws:iam::444455556666:role/acme-kms";

    fn chosen(fields: &serde_json::Value, external_id: Option<&str>) -> Result<Who, Reason> {
        let aws: AwsSpec = serde_json::from_value(fields.clone()).expect("a block");
        let key = KeyRef::parse(KEY).expect("a key");
        choose(&TenantId::new("tenants", "acme"), &aws, &key, external_id)
            .map_err(|failure| failure.reason)
    }

    #[test]
    fn one_whole_credential_or_none() {
        use serde_json::json;
        let issued = Some("tkms-1");
        assert_eq!(chosen(&json!({}), issued), Ok(Who::Own));
        let role = Who::Role {
            arn: ROLE.to_owned(),
            external_id: "tkms-1".to_owned(),
        };
        assert_eq!(
            chosen(&json!({ "roleArn": ROLE }), issued),
            Ok(role.clone())
        );
        let same = json!({ "roleArn": ROLE, "externalId": "tkms-1" });
        assert_eq!(chosen(&same, issued), Ok(role.clone()));
        assert_eq!(chosen(&same, None), Ok(role));
        let account = json!({ "roleArn": ROLE, "serviceAccountName": "acme" });
        let account = chosen(&account, issued).expect("a role");
        assert!(
            matches!(account, Who::ServiceAccount { account, .. } if account == "tenants/acme")
        );
        for (fields, reason) in [
            (
                json!({ "roleArn": ROLE, "externalId": "tkms-2" }),
                Reason::NotAllowed,
            ),
            (
                json!({ "serviceAccountName": "acme" }),
                Reason::CredentialNotFound,
            ),
            (
                json!({ "externalId": "tkms-1" }),
                Reason::CredentialNotFound,
            ),
            (json!({ "roleArn": "acme" }), Reason::CredentialNotFound),
            (
                json!({ "roleArn": "arn:aws-cn:iam::444455556666:role/a" }),
                Reason::CredentialNotFound,
            ),
            (
                json!({ "roleArn": ROLE, "serviceAccountName": "../x" }),
                Reason::IdentityUnavailable,
            ),
        ] {
            assert_eq!(chosen(&fields, issued), Err(reason), "{fields}");
        }
        let role = json!({ "roleArn": ROLE });
        assert_eq!(chosen(&role, None), Err(Reason::CredentialNotFound));
    }
}
