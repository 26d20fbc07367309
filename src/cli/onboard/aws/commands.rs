//! The commands, for `aws`. Every argument that is not a word of ours is single-quoted, and no comment has
//! a quote: pasted into zsh, it would open one.

use serde_json::{Value, json};

use super::{Plan, Who};
use crate::credentials::quoted;
use crate::provider::aws::{AUDIENCE, Names, role_name};

const USE: [&str; 3] = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"];

/// What the customer runs, signed in at the account of the key.
pub fn customer(plan: &Plan) -> String {
    let subject = &plan.subject;
    let mut text = String::from("# The customer runs this.\n");
    let mut add = |comment: &str, command: &str| {
        text.extend(["# ", comment, "\n", command, "\n"]);
    };
    if let (Who::ServiceAccount { arn, .. }, Some(issuer)) = (&subject.who, &plan.issuer) {
        let provider = subject.oidc_provider(arn, issuer.trim_start_matches("https://"));
        add(
            "An OpenID Connect provider for the cluster of the platform. One that is there already \
             stays as it is: the audience must be among its client ids.",
            &format!(
                "aws iam get-open-id-connect-provider --open-id-connect-provider-arn {} > /dev/null \
                 ||\n  aws iam create-open-id-connect-provider --url {} --client-id-list {}",
                quoted(&provider),
                quoted(issuer),
                quoted(AUDIENCE)
            ),
        );
    }
    let trust = subject.trust_policy(plan.issuer.as_deref());
    if let Some((role, trust)) = subject.who.role().zip(trust) {
        let name = quoted(role_name(role));
        add(
            "The role that uses the key. One that is there already stays as it is: its trust policy \
             must have this statement, and none that lets the platform in without it.",
            &format!(
                "aws iam get-role --role-name {name} > /dev/null ||\n  aws iam create-role --role-name \
                 {name} --path {} --assume-role-policy-document {}",
                quoted(path(role)),
                quoted(&trust)
            ),
        );
    }
    let user = subject.who.role().or(subject.own.as_deref());
    let mut statement = allow(&json!(USE), "*");
    statement["Principal"] = json!({ "AWS": user.unwrap_or_default() });
    text.extend([
        "# The right to encrypt and decrypt with this key, and nothing else. It takes effect within some \
         minutes. Instead of this grant, the policy of the key may have this statement:\n#   ",
        &statement.to_string(),
        "\n",
        &subject.grant_key(),
        "\n",
    ]);
    text
}

/// What the operator's own role must be allowed to do in its own account.
pub fn operator(plan: &Plan) -> String {
    let subject = &plan.subject;
    let Some(own) = &subject.own else {
        return String::new();
    };
    let statement = match (subject.who.role(), &subject.key.names) {
        (Some(role), _) => allow(&json!("sts:AssumeRole"), role),
        (None, Names::Key(_)) => allow(&json!(USE), &subject.key.arn),
        // An alias is no resource, and one that moves must not take the right to the former key with it:
        // the grant on each key decides.
        (None, Names::Alias(_)) => {
            let every = subject.key.arn.split(":alias/").next().unwrap_or_default();
            allow(&json!(USE), &format!("{every}:key/*"))
        }
    };
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
    format!(
        "# The role of the operator may do that. All policies of a role have 10,240 characters: for more than some \
         tens of tenants write one for all.\naws iam put-role-policy --role-name {} --policy-name {} \
         --policy-document {}\n",
        quoted(role_name(own)),
        quoted(&subject.label),
        quoted(&policy.to_string())
    )
}

fn allow(action: &Value, resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

/// Of a role's ARN: `/`, or what stands before its name.
fn path(role: &str) -> &str {
    let path = role.split_once(":role").map_or("/", |(_, path)| path);
    path.strip_suffix(role_name(role)).unwrap_or("/")
}
