use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

const KEY: &str = "https://acme-kv.vault.azure.net/keys/tenant-wrapping-key";
const CLIENT: &str = "11112222-3333-4444-5555-666677778888";
const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";

fn onboard(key: &str, client: &str, more: &[&str]) -> Result<String, String> {
    let first = ["onboard", "--key", key, "--client-id", client];
    let line = Line::try_parse_from(first.iter().chain(more)).map_err(|e| e.to_string())?;
    script(&line.args).map(Script::text)
}

/// A comment that zsh, into which it is pasted, takes for more.
fn opens_a_quote(line: &str) -> bool {
    line.starts_with("# ") && !line.starts_with("#  ") && line.contains('\'')
}

#[test]
fn each_identity_has_its_own_commands_and_manifest() {
    let issuer = "https://oidc.prod-aks.azure.com/0/1/";
    let trust = |account| {
        vec![
            "--tenant-id",
            DIRECTORY,
            "--service-account",
            account,
            "--issuer",
            issuer,
        ]
    };
    let subject = r#""subject":"system:serviceaccount:tenant-kms-system:tenant-kms-operator""#;
    for (more, has, has_not) in [
        (
            vec![],
            vec!["azure: workloadIdentity"],
            vec!["az login", "tenantId"],
        ),
        (
            vec!["--identity", "managed"],
            vec!["azure: managedIdentity", "managedIdentity:\n      clientId"],
            vec!["az login", "federated-credential"],
        ),
        (
            vec!["--identity", "secret", "--tenant-id", DIRECTORY],
            vec![
                "credential reset",
                "envVar: AZURE_KC_CLIENT_SECRET",
                "#   clientSecrets:\n#     - { name: AZURE_KC_CLIENT_SECRET, secretName: \
                 acme-kv-azure, key: client-secret, tenants: [tenants/acme-kv] }\n",
                "create secret generic 'acme-kv-azure' --namespace 'tenant-kms-system'",
                "az login --tenant 'aaaa",
            ],
            vec![
                "federated-credential",
                "operatorIdentity",
                "tenantCredentials",
            ],
        ),
        (
            vec![
                "--identity",
                "secret",
                "--tenant-id",
                DIRECTORY,
                "--secret",
                "acme-azure",
            ],
            vec![
                "#   tenantCredentials:\n#     - { namespace: tenants, secrets: [acme-azure] }\n",
                "secretRef:\n        key: client-secret\n        name: acme-azure",
                "create secret generic 'acme-azure' --namespace 'tenants' \
                 --from-file='client-secret=client-secret.txt'",
                "label secret 'acme-azure' --namespace 'tenants' 'tenantkms.dev/tenant=acme-kv'",
            ],
            vec!["envVar", "clientSecretVariables"],
        ),
        (
            trust("tenant-kms-system/tenant-kms-operator"),
            vec![
                subject,
                issuer,
                "\"api://AzureADTokenExchange\"",
                "tenantId",
                "#   operatorIdentity:\n#     azure: workloadIdentity\n",
                "{ tenants: [tenants/acme-kv], keys: \
                 ['https://acme-kv.vault.azure.net/keys/tenant-wrapping-key'] }",
            ],
            vec![
                "serviceAccountName",
                "kind: ServiceAccount",
                "tenantCredentials",
            ],
        ),
        (
            trust("tenants/acme-kms"),
            vec![
                "serviceAccountName: acme-kms",
                "tenantkms.dev/tenant: acme-kv",
                "---\n",
                "#     - { namespace: tenants, serviceAccounts: [acme-kms] }\n",
            ],
            vec!["operatorIdentity"],
        ),
    ] {
        let text = onboard(KEY, CLIENT, &more).expect("valid");
        for wanted in has.into_iter().chain([
            "--role 'Key Vault Crypto Service Encryption User' --assignee '11112222-",
            "'/keys/tenant-wrapping-key'",
            "set-policy --name 'acme-kv' --spn",
            "kubectl wait tkms/'acme-kv' --namespace 'tenants'",
        ]) {
            assert!(text.contains(wanted), "{more:?}: no {wanted} in\n{text}");
        }
        for unwanted in has_not {
            assert!(!text.contains(unwanted), "{more:?}: {unwanted} in\n{text}");
        }
        assert!(!text.lines().any(opens_a_quote), "{text}");
    }
}

/// Entra refuses a dot in a federated credential's name.
#[test]
fn a_tenants_dots_do_not_reach_entra() {
    let more = [
        "--tenant=tenants/a.b",
        "--tenant-id",
        DIRECTORY,
        "--service-account=tenants/a",
        "--issuer=https://oidc.example",
    ];
    let text = onboard(KEY, CLIENT, &more).expect("valid");
    assert!(text.contains(r#""name":"tenant-kms-a-b""#), "{text}");
}

#[test]
fn a_managed_hsm_has_roles_of_its_own() {
    let key = "https://acme.managedhsm.azure.net/keys/k";
    let text = onboard(key, CLIENT, &["-o", "commands"]).expect("valid");
    assert!(
        text.contains("--hsm-name 'acme'") && !text.contains("set-policy"),
        "{text}"
    );
}

#[test]
fn a_wrong_argument_is_refused_in_words_and_not_repeated() {
    let federated = |account, issuer| {
        vec![
            "--tenant-id",
            DIRECTORY,
            "--service-account",
            account,
            "--issuer",
            issuer,
        ]
    };
    let issuer = "https://oidc.example";
    for (key, client, more, named) in [
        ("https://hunter2.example/keys/k", CLIENT, vec![], "--key"),
        (
            "https://acme-kv.vault.azure.net/keys/hunter2';id",
            CLIENT,
            vec![],
            "--key",
        ),
        (KEY, "hunter2", vec![], "--client-id"),
        (KEY, CLIENT, vec!["--tenant-id", "hunter2"], "--tenant-id"),
        (KEY, CLIENT, vec!["--tenant", "a/hunter2/b"], "--tenant"),
        (
            KEY,
            CLIENT,
            vec!["--tenant-id", DIRECTORY],
            "--service-account",
        ),
        (KEY, CLIENT, vec!["--issuer", issuer], "--tenant-id"),
        (
            KEY,
            CLIENT,
            vec!["--identity", "managed", "--tenant-id", DIRECTORY],
            "own directory",
        ),
        (KEY, CLIENT, vec!["--identity", "secret"], "--tenant-id"),
        (
            KEY,
            CLIENT,
            federated("hunter2", issuer),
            "--service-account",
        ),
        (
            KEY,
            CLIENT,
            federated("a/b'hunter2", issuer),
            "--service-account",
        ),
        (
            KEY,
            CLIENT,
            federated("a/b", "https://x/?hunter2"),
            "--issuer",
        ),
        (
            KEY,
            CLIENT,
            federated("a/b", "https://u:hunter2@x"),
            "--issuer",
        ),
        (KEY, CLIENT, federated("a/b", "http://hunter2"), "--issuer"),
        (
            KEY,
            CLIENT,
            vec![
                "--identity",
                "secret",
                "--tenant-id",
                DIRECTORY,
                "--secret-variable",
                "hunter2~x",
            ],
            "--secret-variable",
        ),
        (
            KEY,
            CLIENT,
            vec![
                "--identity",
                "secret",
                "--tenant-id",
                DIRECTORY,
                "--secret",
                "hunter2~x",
            ],
            "--secret",
        ),
    ] {
        let problem = onboard(key, client, &more).expect_err("refused");
        assert!(problem.contains(named), "{more:?}: {problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn a_client_secret_has_one_place() {
    for (more, named) in [
        (vec!["--secret", "a"], "--identity secret"),
        (
            vec!["--secret", "a", "--secret-variable", "B"],
            "cannot be used with",
        ),
    ] {
        let problem = onboard(KEY, CLIENT, &more).expect_err("refused");
        assert!(problem.contains(named), "{more:?}: {problem}");
    }
}
