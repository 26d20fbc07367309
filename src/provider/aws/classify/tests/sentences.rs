//! What only AWS's sentence tells apart: whose policy refused, and what an external key manager said.

use super::*;

/// How AWS says which kind of policy refused; docs.aws.amazon.com, IAM User Guide, "Troubleshoot access
/// denied error messages".
fn refused(why: &str) -> String {
    format!(
        "User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: x on resource: y {why}"
    )
}

#[test]
fn a_policy_of_the_platform_is_no_customer_s_no() {
    let endpoint = [
        "because no VPC endpoint policy allows the x action",
        "with an explicit deny in a VPC endpoint policy",
    ];
    let caller = [
        "because no identity-based policy allows the x action",
        "with an explicit deny in an identity-based policy",
        "with an explicit deny in a service control policy",
        "because no permissions boundary allows the x action",
        "because no session policy allows the x action",
    ];
    let owner = [
        "because no resource-based policy allows the x action",
        "with an explicit deny in a resource-based policy",
        "with an explicit deny in a resource control policy",
        "",
    ];
    let ours = (Kind::Misconfigured, Reason::IdentityUnavailable);
    let no = (Kind::Denial, Reason::AccessDenied);
    for (whys, of_own, of_role, of_account) in [
        (&endpoint[..], ours, ours, ours),
        (&caller[..], ours, no, no),
        (&owner[..], no, no, no),
    ] {
        for why in whys {
            for (who, means) in [
                (Who::Own, of_own),
                (role(), of_role),
                (account(), of_account),
            ] {
                let said = Said::test(400, "AccessDeniedException", &refused(why));
                let failure = kms(Operation::Decrypt, &said, &subject(who.clone()));
                assert_eq!(is(&failure), means, "KMS, {who:?}: {why}");
            }
        }
    }
    for (whys, of_role, of_account) in [
        (&endpoint[..], ours, ours),
        (&caller[..], ours, no),
        (&owner[..], no, no),
    ] {
        for why in whys {
            for (who, means) in [(role(), of_role), (account(), of_account)] {
                let failure = of_sts(who.clone(), 403, "AccessDenied", &refused(why));
                assert_eq!(is(&failure), means, "STS, {who:?}: {why}");
            }
        }
    }
}

#[test]
fn an_external_key_manager_s_no_is_one_and_its_outage_is_not() {
    let of = |message: &str| is(&of_kms(400, "KMSInvalidStateException", message));
    for no in [
        "The external key store proxy denied access to the operation. Verify that the user and the external \
         key are both authorized for this operation, and try the request again.",
        "The external key store proxy rejected the request because the external key is not enabled in the \
         external key manager.",
        "The external key store proxy rejected the request because it could not find the external key.",
    ] {
        assert_eq!(of(no), (Kind::Denial, Reason::KeyUnusable), "{no}");
    }
    for outage in [
        "The external key store proxy did not respond to the request in the time allotted.",
        "The external key store proxy is in an unhealthy state.",
    ] {
        assert_eq!(
            of(outage),
            (Kind::Transient, Reason::ProviderError),
            "{outage}"
        );
    }
}
