use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

const KEY: &str = "projects/acme-prod/locations/global/keyRings/platform/cryptoKeys/wrap";
const OPERATOR: &str = "tenant-kms@platform-1.iam.gserviceaccount.com";
const CUSTOMER: &str = "kms@acme-prod.iam.gserviceaccount.com";
const PROVIDER: &str =
    "projects/123456789012/locations/global/workloadIdentityPools/tenant-kms/providers/platform";
const ISSUER: &str = "https://container.googleapis.com/v1/projects/p/locations/l/clusters/c";
const PRINCIPAL: &str = "principal://iam.googleapis.com/projects/1/locations/global/\
                         workloadIdentityPools/p.svc.id.goog/subject/ns/tenant-kms-system/sa/op";

fn onboard(key: &str, more: &[&str]) -> Result<String, String> {
    let first = ["onboard", "--key", key];
    let line = Line::try_parse_from(first.iter().chain(more)).map_err(|e| e.to_string())?;
    script(&line.args).map(Script::text)
}

fn federated<'a>(account: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let trust = [
        "--provider",
        PROVIDER,
        "--service-account",
        account,
        "--issuer",
        ISSUER,
    ];
    [&trust[..], more].concat()
}

/// A comment that zsh, into which it is pasted, takes for more.
fn opens_a_quote(line: &str) -> bool {
    line.starts_with("# ") && !line.starts_with("#  ") && line.contains('\'')
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_identity_has_its_own_commands_and_manifest() {
    let own = "operatorIdentity:\n#     allow:\n#       - { tenants: [tenants/acme-prod], keys: \
               ['projects/acme-prod/locations/global/keyRings/platform/cryptoKeys/wrap'] }\n";
    let principal = "--member 'principal://iam.googleapis.com/projects/123456789012/locations/global/\
                     workloadIdentityPools/tenant-kms/subject/system:serviceaccount:tenants:acme-kms'";
    let lent = "#     - { namespace: tenants, serviceAccounts: [acme-kms] }\n";
    for (more, has, has_not) in [
        (
            vec!["--operator", OPERATOR],
            vec![
                own,
                "--member 'serviceAccount:tenant-kms@platform-1.iam.gserviceaccount.com'",
            ],
            vec!["gcp:\n", "workload-identity-pools", "tenantCredentials"],
        ),
        (
            vec!["--operator", PRINCIPAL],
            vec![own, "sa/op'"],
            vec!["serviceAccount:"],
        ),
        (
            vec!["--operator", OPERATOR, "--impersonate", CUSTOMER],
            vec![
                own,
                "gcloud iam service-accounts create 'kms' --project 'acme-prod'",
                "add-iam-policy-binding 'kms@acme-prod.iam.gserviceaccount.com' --role \
                 'roles/iam.serviceAccountTokenCreator' --member 'serviceAccount:tenant-kms@platform-1",
                "--member 'serviceAccount:kms@acme-prod.iam.gserviceaccount.com'",
                "impersonateServiceAccount: kms@acme-prod.iam",
            ],
            vec!["workload-identity-pools", "tenantCredentials"],
        ),
        (
            federated("tenants/acme-kms", &[]),
            vec![
                lent,
                principal,
                "workload-identity-pools create 'tenant-kms' --location 'global' --project '123456789012'",
                "create-oidc 'platform' --workload-identity-pool 'tenant-kms'",
                "--issuer-uri 'https://container.googleapis.com/v1/projects/p/locations/l/clusters/c'",
                r"--attribute-condition 'assertion.sub == '\''system:serviceaccount:tenants:acme-kms'\'''",
                "serviceAccountName: acme-kms",
                "kind: ServiceAccount",
                "tenantkms.dev/tenant: acme-prod",
            ],
            vec!["operatorIdentity", "service-accounts create"],
        ),
        (
            federated("tenants/acme-kms", &["--impersonate", CUSTOMER]),
            vec![
                lent,
                principal,
                "--role 'roles/iam.workloadIdentityUser'",
                "--member 'serviceAccount:kms@acme-prod.iam.gserviceaccount.com'",
            ],
            vec!["operatorIdentity", "serviceAccountTokenCreator"],
        ),
        (
            federated("tenants/acme-kms", &["--billed-project", "acme-billing"]),
            vec![
                "gcloud projects add-iam-policy-binding 'acme-billing' --role \
                 'roles/serviceusage.serviceUsageConsumer' --member 'principal://",
                "projectId: acme-billing",
            ],
            vec![],
        ),
    ] {
        let text = onboard(KEY, &more).expect("valid");
        for wanted in has.into_iter().chain([
            "gcloud kms keys add-iam-policy-binding 'wrap' --keyring 'platform' --location 'global' \
             --project 'acme-prod' --role 'roles/cloudkms.cryptoKeyEncrypterDecrypter'",
            "kubectl wait tkms/'acme-prod' --namespace 'tenants'",
            "provider: gcp",
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
fn a_project_of_a_domain_and_an_account_that_nobody_makes() {
    let becomes = |email| {
        let more = ["--operator", OPERATOR, "--impersonate", email];
        onboard(KEY, &more).expect("valid")
    };
    let text = becomes("kms@acme.example.com.iam.gserviceaccount.com");
    assert!(
        text.contains("create 'kms' --project 'example.com:acme'"),
        "{text}"
    );
    let text = becomes("1-compute@developer.gserviceaccount.com");
    assert!(!text.contains("service-accounts create"), "{text}");
}

#[test]
fn a_wrong_argument_is_refused_in_words_and_not_repeated() {
    let operator = ["--operator", OPERATOR];
    let with = |more: &[&'static str]| [&operator[..], more].concat();
    let long = format!("tenants/{}h", "hunter2.".repeat(15));
    for (key, more, named) in [
        ("projects/hunter2", with(&[]), "--key"),
        (
            "projects/acme-prod/locations/l/keyRings/r/cryptoKeys/hunter2';id",
            with(&[]),
            "--key",
        ),
        (KEY, vec![], "--operator"),
        (KEY, vec!["--operator", "hunter2"], "--operator"),
        (
            KEY,
            vec![
                "--operator",
                "principal://iam.googleapis.com/projects/1/subject/hunter2'",
            ],
            "--operator",
        ),
        (KEY, with(&["--provider", PROVIDER]), "--provider"),
        (KEY, vec!["--provider", PROVIDER], "--service-account"),
        (KEY, with(&["--issuer", ISSUER]), "--provider"),
        (KEY, with(&["--impersonate", "hunter2"]), "--impersonate"),
        (
            KEY,
            with(&["--billed-project", "hunter2/"]),
            "--billed-project",
        ),
        (KEY, with(&["--tenant", "a/hunter2/b"]), "--tenant"),
        (KEY, federated("hunter2", &[]), "--service-account"),
        (
            KEY,
            federated("other/hunter2", &[]),
            "own namespace, tenants",
        ),
        (KEY, federated(&long, &[]), "127"),
        (
            KEY,
            [
                &federated("tenants/a", &[])[..4],
                &["--issuer", "https://u:hunter2@x"],
            ]
            .concat(),
            "--issuer",
        ),
        (
            KEY,
            [
                &["--provider", "projects/hunter2"],
                &federated("tenants/a", &[])[2..],
            ]
            .concat(),
            "projectNumber",
        ),
    ] {
        let problem = onboard(key, &more).expect_err("refused");
        assert!(problem.contains(named), "{more:?}: {problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
