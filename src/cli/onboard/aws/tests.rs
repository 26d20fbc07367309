use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

const KEY: &str = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-central-1:444455556666:alias/acme";
const OPERATOR: &str = "arn:aws:iam::111122223333:role/platform/operator";
const ROLE: &str = "arn:aws:iam::444455556666:role/byok/acme-kms";
const EXTERNAL_ID: &str = "tkms-0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123";

fn onboard(key: &str, more: &[&str]) -> Result<String, String> {
    let first = ["onboard", "--key", key, "--tenant", "tenants/acme"];
    let line = Line::try_parse_from(first.iter().chain(more)).map_err(|e| e.to_string())?;
    script(&line.args).map(Script::text)
}

fn own() -> Vec<&'static str> {
    vec!["--operator", OPERATOR]
}

fn role(more: &[&'static str]) -> Vec<&'static str> {
    [&["--operator", OPERATOR, "--role", ROLE][..], more].concat()
}

fn federated<'a>(account: &'a str, issuer: &'a str) -> Vec<&'a str> {
    let trust = ["--service-account", account, "--issuer", issuer];
    [&["--role", ROLE][..], &trust].concat()
}

/// A comment that zsh, into which it is pasted, takes for more.
fn opens_a_quote(line: &str) -> bool {
    line.starts_with("# ") && !line.starts_with("#  ") && line.contains('\'')
}

#[test]
fn each_identity_has_its_own_commands_and_manifest() {
    let granted = format!("#       - {{ tenants: [tenants/acme], keys: ['{KEY}'] }}\n");
    for (more, has, has_not) in [
        (
            own(),
            vec![
                granted.as_str(),
                "--grantee-principal 'arn:aws:iam::111122223333:role/platform/operator'",
                r#""Principal":{"AWS":"arn:aws:iam::111122223333:role/platform/operator"}"#,
                "put-role-policy --role-name 'operator' --policy-name 'tkms-",
            ],
            vec![
                "  aws:",
                "create-role",
                "sts:AssumeRole",
                "tenantCredentials",
            ],
        ),
        (
            role(&["--external-id", EXTERNAL_ID]),
            vec![
                granted.as_str(),
                "aws iam create-role --role-name 'acme-kms' --path '/byok/' --assume-role-policy-document",
                r#""sts:ExternalId":"tkms-0123456789abcdef0123456789abcdef""#,
                r#""Principal":{"AWS":"arn:aws:iam::111122223333:role/platform/operator"}"#,
                "--grantee-principal 'arn:aws:iam::444455556666:role/byok/acme-kms'",
                r#""Action":"sts:AssumeRole","Effect":"Allow","Resource":"arn:aws:iam::444455556666:role/byok/acme-kms""#,
                "roleArn: arn:aws:iam::444455556666:role/byok/acme-kms",
            ],
            vec!["externalId:", "serviceAccountName", "oidc-provider"],
        ),
        (
            federated("tenants/acme-kms", ISSUER),
            vec![
                "aws iam create-open-id-connect-provider --url 'https://oidc.eks.eu-central-1.amazonaws.com/id/0123' \
                 --client-id-list 'sts.amazonaws.com'",
                r#""oidc.eks.eu-central-1.amazonaws.com/id/0123:sub":"system:serviceaccount:tenants:acme-kms""#,
                r#""Federated":"arn:aws:iam::444455556666:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/0123""#,
                "serviceAccountName: acme-kms",
                "kind: ServiceAccount",
                "tenantkms.dev/tenant: acme",
                "#     - { namespace: tenants, serviceAccounts: [acme-kms] }\n",
            ],
            vec!["operatorIdentity", "put-role-policy", "ExternalId"],
        ),
    ] {
        let text = onboard(KEY, &more).expect("valid");
        for wanted in has.into_iter().chain([
            "aws kms create-grant --region 'eu-central-1' --key-id 'arn:aws:kms:eu-central-1:4444",
            "--operations Encrypt Decrypt DescribeKey --name 'tkms-",
            r#""Action":["kms:Encrypt","kms:Decrypt","kms:DescribeKey"]"#,
            "kubectl wait tkms/'acme' --namespace 'tenants'",
            "provider: aws",
        ]) {
            assert!(text.contains(wanted), "{more:?}: no {wanted} in\n{text}");
        }
        for unwanted in has_not {
            assert!(!text.contains(unwanted), "{more:?}: {unwanted} in\n{text}");
        }
        assert!(!text.lines().any(opens_a_quote), "{text}");
    }
}

#[test]
fn an_alias_stands_for_its_key() {
    let text = onboard(ALIAS, &own()).expect("valid");
    // An alias that moves must not take the right to the former key with it.
    assert!(!text.contains("ResourceAliases"), "{text}");
    for wanted in [
        r#""Resource":"arn:aws:kms:eu-central-1:444455556666:key/*""#,
        "--key-id \"$(aws kms describe-key --region 'eu-central-1'",
        "keys: ['arn:aws:kms:eu-central-1:444455556666:alias/acme']",
    ] {
        assert!(text.contains(wanted), "no {wanted} in\n{text}");
    }
}

#[test]
fn the_manifest_comes_before_the_external_id() {
    let manifest = onboard(KEY, &role(&["--output", "manifest"])).expect("valid");
    assert!(manifest.contains("roleArn:"), "{manifest}");
    for more in [role(&[]), role(&["--output", "commands"])] {
        let problem = onboard(KEY, &more).expect_err("not issued");
        let read = "kubectl get tkms 'acme' --namespace 'tenants' --output jsonpath='{.status.externalId}'";
        assert!(problem.contains(read), "{problem}");
    }
}

#[test]
fn a_wrong_argument_is_refused_in_words_and_not_repeated() {
    let at = "tenants/acme-kms";
    for (key, more, named) in [
        (
            "arn:aws:kms:eu-central-1:444455556666:key/hunter2",
            own(),
            "--key",
        ),
        ("alias/hunter2", own(), "--key"),
        (KEY, vec![], "--operator"),
        (KEY, vec!["--operator", "hunter2"], "--operator"),
        (
            KEY,
            vec!["--operator", "arn:aws-cn:iam::111122223333:role/hunter2"],
            "--operator",
        ),
        (
            KEY,
            vec![
                "--operator",
                OPERATOR,
                "--role",
                "arn:aws:iam::1:role/hunter2",
            ],
            "--role",
        ),
        (KEY, role(&["--external-id", "hunter2"]), "--external-id"),
        (
            KEY,
            vec!["--external-id", EXTERNAL_ID, "--operator", OPERATOR],
            "--role",
        ),
        (
            KEY,
            vec!["--service-account", at, "--role", ROLE],
            "--issuer",
        ),
        (KEY, [own(), federated(at, ISSUER)].concat(), "--operator"),
        (KEY, federated("hunter2", ISSUER), "--service-account"),
        (
            KEY,
            federated("other/hunter2", ISSUER),
            "own namespace, tenants",
        ),
        (KEY, federated(at, "https://u:hunter2@x"), "--issuer"),
    ] {
        let problem = onboard(key, &more).expect_err("refused");
        assert!(problem.contains(named), "{more:?}: {problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
