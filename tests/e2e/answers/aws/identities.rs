//! Whose permissions are used: the operator's own identity by each of the ways in which a pod gets one, in each
//! partition, and what is said when it cannot be had.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use fakecloud::IMDS_HOST;
use fakecloud::aws::key::USE;
use serde_json::{Value, json};

use super::{ACCOUNT, EXTERNAL_ID, OPERATOR, names, with_own_identity, with_role};
use crate::answers::{Customer, Row, config, row, run, works};

const PLATFORM: &str = "111122223333";
const ISSUER: &str = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123";
const SUBJECT: &str = "system:serviceaccount:tenant-kms-system:tenant-kms-operator";
const HOUR: i64 = 3600;

/// A file with a token of the operator's `ServiceAccount`, which ends in so many seconds.
fn token(c: &Customer, subject: &str, audience: &str, seconds: i64) -> String {
    c.cloud.trust_own_signer(ISSUER);
    let end = jiff::Timestamp::now().as_second() + seconds;
    let claims = json!({ "iss": ISSUER, "sub": subject, "aud": [audience], "exp": end });
    let file = c.cloud.ca_file().with_file_name("token");
    std::fs::write(&file, c.cloud.sign_token(&claims)).expect("a file");
    file.to_string_lossy().into_owned()
}

/// IAM roles for service accounts, as EKS's webhook sets them up.
fn webhook(c: &mut Customer, seconds: i64) {
    let aws = c.cloud.aws();
    aws.instance_role(None);
    aws.oidc_provider(PLATFORM, ISSUER, &["sts.amazonaws.com"]);
    aws.role(OPERATOR)
        .trust_web_identity(ISSUER, SUBJECT, "sts.amazonaws.com");
    let file = token(c, SUBJECT, "sts.amazonaws.com", seconds);
    c.env.extend([
        ("AWS_ROLE_ARN".to_owned(), OPERATOR.to_owned()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), file),
    ]);
}

/// EKS Pod Identity as it sets up the pod of this subject, with an association for the operator's.
fn agent(c: &mut Customer, subject: &str, seconds: i64) {
    let aws = c.cloud.aws();
    aws.instance_role(None);
    aws.pod_identity(SUBJECT, OPERATOR);
    let file = token(c, subject, "pods.eks.amazonaws.com", seconds);
    let url = format!("{}/v1/credentials", c.cloud.imds_url());
    c.env.extend([
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(), file),
    ]);
}

/// The names that sessions have in CloudTrail, in the order in which they were used.
fn sessions(c: &Customer) -> Vec<String> {
    let calls = c.cloud.calls();
    let mut names: Vec<String> = calls.into_iter().filter_map(|call| call.app).collect();
    names.dedup();
    names
}

/// A key and a role of this partition, and the hosts that may be asked.
fn in_partition(partition: &'static str, region: &'static str, suffix: &'static str) -> Row {
    works(partition, move |c| {
        let aws = c.cloud.aws();
        let operator = format!("arn:{partition}:iam::{PLATFORM}:role/operator");
        aws.role(&operator).allow(&["sts:AssumeRole"], "*");
        aws.instance_role(Some(&operator));
        let key = aws.create_key(ACCOUNT, region);
        let role = aws.role(&format!("arn:{partition}:iam::{ACCOUNT}:role/acme-kms"));
        role.allow(&USE, key.arn());
        role.trust(&operator, Some(EXTERNAL_ID));
        c.provider = "aws";
        c.spec = format!(
            "  aws: {{ region: {region}, roleArn: '{}', externalId: {EXTERNAL_ID} }}\n",
            role.arn()
        );
        names(c, key.arn());
    })
    .check(move |c, _| {
        let calls = c.cloud.calls();
        let asked: BTreeSet<_> = calls.iter().map(|call| call.host.as_str()).collect();
        let [sts, kms] = ["sts", "kms"].map(|service| format!("{service}.{region}.{suffix}"));
        ensure!(
            asked == BTreeSet::from([IMDS_HOST, &kms, &sts]),
            "{asked:?}"
        );
        Ok(())
    })
}

fn is_operator(c: &Customer, report: &Value) -> Result<()> {
    ensure!(
        report["identity"] == "the operator's own identity",
        "{report}"
    );
    let names = sessions(c);
    let of_tenant = names.iter().any(|name| name.contains("acme"));
    ensure!(!of_tenant, "told to whoever shares it: {names:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_identities() {
    const REJECTED: (&str, &str, &str) =
        ("Misconfigured", "CredentialRejected", "aws iam get-role");
    run(vec![
        works("IAM roles for service accounts, then the role", |c| {
            with_role(c);
            webhook(c, HOUR);
        })
        .sends("assume-role-with-web-identity", 1)
        .sends("assume-role", 2)
        .sends("imds-session", 0)
        .check(|c, _| {
            let expected = ["tenant-kms-operator", "tenant-kms-tenants-acme"];
            ensure!(sessions(c) == expected, "{:?}", sessions(c));
            Ok(())
        }),
        works("IAM roles for service accounts alone", |c| {
            with_own_identity(c);
            webhook(c, HOUR);
        })
        .sends("assume-role-with-web-identity", 1)
        .sends("assume-role", 0)
        .check(is_operator),
        works("EKS Pod Identity, then the role", |c| {
            with_role(c);
            agent(c, SUBJECT, HOUR);
        })
        .sends("pod-identity", 1)
        .sends("assume-role", 2)
        .sends("imds-session", 0),
        works("EKS Pod Identity alone", |c| {
            with_own_identity(c);
            agent(c, SUBJECT, HOUR);
        })
        .sends("pod-identity", 1)
        .check(is_operator),
        works("its agent is not asked through the proxy", |c| {
            with_own_identity(c);
            agent(c, SUBJECT, HOUR);
            c.env.push(("NO_PROXY".to_owned(), String::new()));
        })
        .sends("pod-identity", 1)
        .sends("plain-http", 0),
        works("all keys of an account, for its own identity", |c| {
            let key = with_own_identity(c);
            let every = key.arn().split("key/").next().unwrap_or_default();
            c.config = config(&format!(
                "operatorIdentity: {{ allow: [{{ tenants: ['tenants/*'], keys: ['{every}key/*'] }}] }}"
            ));
        }),
        row(
            "its web identity has ended",
            REJECTED,
            |c| {
                with_role(c);
                webhook(c, -60);
            },
        )
        .code("ExpiredTokenException")
        .sends("assume-role", 0),
        row("its role does not trust it", REJECTED, |c| {
            with_role(c);
            webhook(c, HOUR);
            c.cloud.aws().role(OPERATOR).trust_nobody();
        })
        .code("AccessDenied"),
        row(
            "the agent does not take its token",
            (
                "Misconfigured",
                "IdentityUnavailable",
                "aws eks list-pod-identity-associations",
            ),
            |c| {
                with_role(c);
                agent(c, SUBJECT, -60);
            },
        )
        .sends("assume-role", 0),
        row(
            "no association names it",
            (
                "Misconfigured",
                "IdentityUnavailable",
                "aws eks create-pod-identity-association",
            ),
            |c| {
                with_role(c);
                agent(c, "system:serviceaccount:tenant-kms-system:other", HOUR);
            },
        ),
        in_partition("aws", "eu-central-1", "amazonaws.com"),
        in_partition("aws-cn", "cn-north-1", "amazonaws.com.cn"),
        in_partition("aws-us-gov", "us-gov-west-1", "amazonaws.com"),
    ])
    .await;
}
