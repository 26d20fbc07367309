//! What STS, KMS and the instance metadata service answer. A no of the customer's is one at the role or at
//! the key, and the two are told apart; all that concerns the operator's own credential is none.

mod identities;
mod trouble;

use anyhow::ensure;
use fakecloud::aws::key::{Key, KeyOptions, Status, USE};
use fakecloud::aws::role::Role;

use super::{Customer, Row, config, row, run, works};

const OPERATOR: &str = "arn:aws:iam::111122223333:role/operator";
const ROLE: &str = "arn:aws:iam::444455556666:role/byok/acme-kms";
const ACCOUNT: &str = "444455556666";
const REGION: &str = "eu-central-1";
const EXTERNAL_ID: &str = "tkms-0123456789abcdef";

/// A key, and a role that may use it and trusts the node's instance profile with the external id.
fn with_role(c: &mut Customer) -> (Key, Role) {
    let aws = c.cloud.aws();
    aws.role(OPERATOR).allow(&["sts:AssumeRole"], "*");
    aws.instance_role(Some(OPERATOR));
    let key = aws.create_key(ACCOUNT, REGION);
    let role = aws.role(ROLE);
    role.allow(&USE, key.arn());
    role.trust(OPERATOR, Some(EXTERNAL_ID));
    c.provider = "aws";
    c.spec = format!("  aws: {{ roleArn: {ROLE}, externalId: {EXTERNAL_ID} }}\n");
    names(c, key.arn());
    (key, role)
}

/// The same key, used by the instance profile itself.
fn with_own_identity(c: &mut Customer) -> Key {
    let (key, _) = with_role(c);
    c.cloud.aws().role(OPERATOR).allow(&USE, key.arn());
    key.grant(OPERATOR);
    c.spec.clear();
    key
}

fn names(c: &mut Customer, arn: &str) {
    arn.clone_into(&mut c.key_ref);
    c.config = config(&format!(
        "operatorIdentity: {{ allow: [{{ tenants: [tenants/acme], keys: ['{arn}'] }}] }}"
    ));
}

fn role(
    name: &'static str,
    means: (&'static str, &'static str, &'static str),
    arrange: impl Fn(&mut Customer, &Key, &Role) + Send + Sync + 'static,
) -> Row {
    row(name, means, move |c| {
        let (key, role) = with_role(c);
        arrange(c, &key, &role);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_roles_and_keys() {
    run(vec![
        works("a role with its external id", |c| {
            with_role(c);
        })
        // The right external id, then a wrong one.
        .sends("assume-role", 2)
        .sends("encrypt", 1)
        .sends("decrypt", 1)
        .check(|c, report| {
            ensure!(report["identity"] == format!("role {ROLE}"), "{report}");
            let calls = c.cloud.calls();
            let seen =
                |call: &&fakecloud::Call| call.app.as_deref() == Some("tenant-kms-tenants-acme");
            ensure!(
                calls.iter().filter(seen).count() == 4,
                "in CloudTrail: {calls:?}"
            );
            ensure!(
                c.key_ref
                    .ends_with(report["kekVersion"].as_str().unwrap_or("?"))
            );
            Ok(())
        }),
        works("the operator's own identity", |c| {
            with_own_identity(c);
        })
        .sends("assume-role", 0)
        .sends("imds-credentials", 1),
        works("the metadata service is not asked through the proxy", |c| {
            with_own_identity(c);
            c.env.push(("NO_PROXY".to_owned(), String::new()));
        })
        .sends("imds-credentials", 1)
        .sends("plain-http", 0),
        works("an alias, for the key that it names", |c| {
            let (key, _) = with_role(c);
            let alias = key.alias_arn("acme");
            c.cloud.aws().point_alias(&alias, &key);
            names(c, &alias);
        })
        .check(|_, report| {
            let key = report["keyId"].as_str().unwrap_or_default();
            ensure!(key.contains(":key/"), "{report}");
            Ok(())
        }),
        role(
            "a role that takes any external id",
            ("Misconfigured", "NotAllowed", "sts:ExternalId"),
            |_, _, role| {
                role.trust_nobody();
                role.trust(OPERATOR, None);
            },
        )
        .sends("assume-role", 2)
        .sends("encrypt", 0),
        role(
            "a role that takes every external id of ours",
            ("Misconfigured", "NotAllowed", "sts:ExternalId"),
            |_, _, role| {
                role.trust_nobody();
                role.trust(OPERATOR, Some("tkms-*"));
            },
        )
        .sends("encrypt", 0),
        role(
            "no such role",
            (
                "Denial",
                "AccessDenied",
                "aws iam update-assume-role-policy",
            ),
            |_, _, role| role.delete(),
        )
        .says("it does not exist"),
        role(
            "another external id",
            (
                "Denial",
                "AccessDenied",
                "aws iam update-assume-role-policy",
            ),
            |c, _, _| c.spec = c.spec.replace(EXTERNAL_ID, "tkms-other"),
        )
        .code("AccessDenied")
        .says("STS refuses role")
        .sends("encrypt", 0),
        role(
            "the role trusts nobody any more",
            (
                "Denial",
                "AccessDenied",
                "aws iam update-assume-role-policy",
            ),
            |_, _, role| role.trust_nobody(),
        ),
        role(
            "the role may do nothing",
            ("Denial", "AccessDenied", "aws kms create-grant"),
            |_, _, role| role.allow_nothing(),
        )
        .code("AccessDeniedException")
        .says("KMS refuses Encrypt"),
        role(
            "the key's policy names nobody",
            ("Denial", "AccessDenied", "aws kms create-grant"),
            |_, key, _| key.revoke_account(),
        ),
        role(
            "the key's policy asks for another tenant's context",
            ("Denial", "AccessDenied", "aws kms create-grant"),
            |_, key, role| {
                role.allow_nothing();
                let context = ("tenantkms.dev/tenant-uid", "another");
                key.grant_only(role.arn(), &USE, Some(context));
            },
        )
        .code("AccessDeniedException"),
        role(
            "disabled",
            ("Denial", "KeyDisabled", "aws kms enable-key"),
            |_, key, _| {
                key.set_status(Status::Disabled);
            },
        ),
        role(
            "pending deletion",
            ("Denial", "KeyUnusable", "aws kms cancel-key-deletion"),
            |_, key, _| key.set_status(Status::PendingDeletion),
        ),
        role(
            "pending import",
            ("Denial", "KeyUnusable", "aws kms get-parameters-for-import"),
            |_, key, _| key.set_status(Status::PendingImport),
        ),
        role(
            "its key store is disconnected",
            ("Transient", "ProviderError", "aws kms describe-key"),
            |_, key, _| key.set_status(Status::Unavailable),
        ),
        role(
            "deleted",
            ("Denial", "KeyNotFound", "aws kms list-aliases"),
            |_, key, _| key.delete(),
        ),
        role(
            "an alias that is not there",
            ("Denial", "KeyNotFound", "aws kms list-aliases"),
            |c, key, _| names(c, &key.alias_arn("none")),
        ),
        role(
            "asymmetric",
            ("Misconfigured", "KeyUnusable", "SYMMETRIC_DEFAULT"),
            |c, _, role| {
                let options = KeyOptions {
                    spec: "RSA_2048",
                    ..KeyOptions::default()
                };
                let rsa = c.cloud.aws().create_key_with(ACCOUNT, REGION, options);
                role.allow(&USE, rsa.arn());
                names(c, rsa.arn());
            },
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_is_not_asked_without_need() {
    let not_named =
        "operatorIdentity: { allow: [{ tenants: ['tenants/*'], keys: ['local://*'] }] }";
    run(vec![
        role(
            "no grant",
            ("Denial", "NotAllowed", "operatorIdentity.allow"),
            move |c, _, _| {
                c.config = config(not_named);
            },
        )
        .sends_nothing(),
        row(
            "own, no grant",
            ("Denial", "NotAllowed", "operatorIdentity.allow"),
            move |c| {
                with_own_identity(c);
                c.config = config(not_named);
            },
        )
        .sends_nothing(),
        role(
            "another region",
            ("Misconfigured", "InvalidKeyRef", "eu-central-1"),
            |c, _, _| {
                c.spec = c.spec.replace("{ roleArn", "{ region: eu-west-1, roleArn");
            },
        )
        .sends_nothing(),
        role(
            "no ARN",
            ("Misconfigured", "InvalidKeyRef", "aws kms describe-key"),
            |c, _, _| {
                "alias/acme".clone_into(&mut c.key_ref);
            },
        )
        .sends_nothing(),
        role(
            "a role of another partition",
            ("Misconfigured", "CredentialNotFound", "aws iam get-role"),
            |c, _, _| c.spec = c.spec.replace("arn:aws:", "arn:aws-cn:"),
        )
        .sends_nothing(),
        role(
            "no external id and no operator that issued one",
            ("Misconfigured", "CredentialNotFound", "status.externalId"),
            |c, _, _| c.spec = format!("  aws: {{ roleArn: {ROLE} }}\n"),
        )
        .sends_nothing(),
    ])
    .await;
}
