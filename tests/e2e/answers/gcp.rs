//! What Google answers: Cloud KMS about grants, keys and their versions, IAM about impersonation.

mod impersonation;
mod wire;

use anyhow::ensure;
use fakecloud::{Effect, Fault, KMS_HOST, VersionState};

use super::{Customer, Row, config, row, works};

const KEY: &str = "projects/acme-prod/locations/europe-west3/keyRings/tenants/cryptoKeys/acme";
const OPERATOR: &str = "operator@platform-1.iam.gserviceaccount.com";
const CUSTOMER: &str = "tenant-kms@acme-prod.iam.gserviceaccount.com";
const USE: &str = "roles/cloudkms.cryptoKeyEncrypterDecrypter";
const BECOME: &str = "roles/iam.serviceAccountTokenCreator";

/// Every refusal says what to do, with a command.
async fn run(rows: Vec<Row>) {
    let told = |row: Row| {
        row.check(|_, report| {
            let message = report["message"].as_str().unwrap_or_default();
            let commands = ["gcloud ", "curl ", "kubectl ", "tenant-kms "];
            let told = commands.iter().any(|command| message.contains(command));
            ensure!(report["ok"] == true || told, "no command: {report}");
            Ok(())
        })
    };
    super::run(rows.into_iter().map(told).collect()).await;
}

fn allow(tenants: &str, keys: &str) -> String {
    config(&format!(
        "operatorIdentity: {{ allow: [{{ tenants: ['{tenants}'], keys: ['{keys}'] }}] }}"
    ))
}

/// The operator's own service account, granted on the key by customer and platform.
fn own(c: &mut Customer) {
    let gcp = c.cloud.gcp();
    let operator = gcp.service_account(OPERATOR);
    gcp.machine_account(Some(&operator));
    gcp.create_key(KEY);
    gcp.grant(KEY, &operator.member(), USE).expect("a role");
    c.provider = "gcp";
    KEY.clone_into(&mut c.key_ref);
    c.spec.clear();
    c.config = allow("tenants/*", "projects/acme-prod/*");
    c.secret = None;
}

/// The customer's service account, which the operator's may become, and which alone may use the key.
fn impersonating(c: &mut Customer) {
    own(c);
    let gcp = c.cloud.gcp();
    let (operator, customer) = (gcp.service_account(OPERATOR), gcp.service_account(CUSTOMER));
    gcp.revoke(KEY, &operator.member());
    gcp.grant(KEY, &customer.member(), USE).expect("a role");
    gcp.grant(&customer.resource(), &operator.member(), BECOME)
        .expect("a role");
    c.spec = format!("  gcp: {{ impersonateServiceAccount: {CUSTOMER} }}\n");
    c.config = allow("tenants/acme", KEY);
}

fn fault(c: &mut Customer, host: &str, operation: &str, effect: Effect) {
    impersonating(c);
    c.cloud.fault(Fault::on(host, effect).operation(operation));
}

fn state(c: &mut Customer, state: VersionState) {
    own(c);
    c.cloud.gcp().key(KEY).set_states(state);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_decide_access() {
    run(vec![
        works("the operator's own service account", own)
            .sends("metadata-token", 1)
            .sends("encrypt", 1)
            .sends("decrypt", 1)
            .check(|_, report| {
                ensure!(report["keyId"] == KEY, "{report}");
                ensure!(report["kekVersion"] == "1", "{report}");
                ensure!(
                    report["identity"] == "the operator's own service account",
                    "{report}"
                );
                Ok(())
            }),
        works("the metadata server is not asked through the proxy", |c| {
            own(c);
            c.env.push(("NO_PROXY".to_owned(), String::new()));
        })
        .sends("metadata-token", 1)
        .sends("plain-http", 0),
        works("a file of credentials is not read", |c| {
            own(c);
            // Whoever reads it fails.
            c.env.push((
                "GOOGLE_APPLICATION_CREDENTIALS".to_owned(),
                "/absent/external_account.json".to_owned(),
            ));
        })
        .sends("metadata-token", 1)
        .sends("sts-token", 0),
        works("a role on the key ring", |c| {
            own(c);
            let member = format!("serviceAccount:{OPERATOR}");
            c.cloud.gcp().revoke(KEY, &member);
            let ring = KEY.strip_suffix("/cryptoKeys/acme").unwrap_or(KEY);
            c.cloud.gcp().grant(ring, &member, USE).expect("a role");
        }),
        row(
            "no role",
            (
                "Denial",
                "AccessDenied",
                "gcloud kms keys add-iam-policy-binding 'acme'",
            ),
            |c| {
                own(c);
                c.cloud
                    .gcp()
                    .revoke(KEY, &format!("serviceAccount:{OPERATOR}"));
            },
        )
        .code("IAM_PERMISSION_DENIED")
        .says("--member 'serviceAccount:operator@platform-1.iam.gserviceaccount.com'")
        .alone()
        .sends("encrypt", 1),
        row(
            "decrypt not granted",
            ("Denial", "AccessDenied", "may not decrypt"),
            |c| {
                own(c);
                let member = format!("serviceAccount:{OPERATOR}");
                c.cloud.gcp().revoke(KEY, &member);
                let role = "roles/cloudkms.cryptoKeyEncrypter";
                c.cloud.gcp().grant(KEY, &member, role).expect("a role");
            },
        )
        .sends("decrypt", 1),
        row(
            "not allowed by the platform",
            ("Denial", "NotAllowed", "operatorIdentity.allow"),
            |c| {
                own(c);
                c.config = allow("tenants/*", "projects/acme-prod2/*");
            },
        )
        .sends_nothing(),
        row(
            "another's project billed",
            ("Denial", "NotAllowed", "the key's own project alone"),
            |c| {
                own(c);
                c.spec = "  gcp: { projectId: birch-prod }\n".to_owned();
            },
        )
        .sends_nothing(),
        row(
            "impersonation without an exact grant",
            ("Denial", "NotAllowed", "without any '*'"),
            |c| {
                impersonating(c);
                c.config = allow("tenants/*", KEY);
            },
        )
        .sends_nothing(),
        row(
            "no key's name",
            ("Misconfigured", "InvalidKeyRef", "gcloud kms keys list"),
            |c| {
                own(c);
                c.key_ref = format!("{KEY}/../../x");
            },
        )
        .sends_nothing(),
        row(
            "half a credential",
            ("Misconfigured", "CredentialNotFound", "go together"),
            |c| {
                own(c);
                c.spec = "  gcp: { serviceAccountName: acme-kms }\n".to_owned();
            },
        )
        .sends_nothing(),
        row(
            "a ServiceAccount without a cluster",
            ("Misconfigured", "IdentityUnavailable", "no cluster"),
            |c| {
                own(c);
                c.spec = "  gcp: { serviceAccountName: acme-kms, workloadIdentityProvider: \
                      projects/1/locations/global/workloadIdentityPools/pool/providers/name }\n"
                    .to_owned();
            },
        )
        .sends_nothing(),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_key_decides() {
    run(vec![
        row(
            "disabled",
            (
                "Denial",
                "KeyDisabled",
                "gcloud kms keys versions enable '1'",
            ),
            |c| {
                state(c, VersionState::Disabled);
            },
        )
        .code("KEY_DISABLED"),
        row(
            "destroy scheduled",
            (
                "Denial",
                "KeyNotFound",
                "gcloud kms keys versions restore '1'",
            ),
            |c| {
                state(c, VersionState::DestroyScheduled);
            },
        )
        .code("KEY_DESTROY_SCHEDULED"),
        row(
            "destroyed",
            ("Denial", "KeyNotFound", "cannot be brought back"),
            |c| {
                state(c, VersionState::Destroyed);
            },
        )
        .code("KEY_DESTROYED"),
        row(
            "pending import",
            ("Misconfigured", "KeyUnusable", "primary version enabled"),
            |c| {
                state(c, VersionState::PendingImport);
            },
        ),
        row(
            "never made",
            ("Denial", "AccessDenied", "or the key is not there"),
            |c| {
                own(c);
                c.key_ref = format!("{KEY}-absent");
            },
        ),
        row(
            "not found",
            ("Denial", "KeyNotFound", "gcloud kms keys describe 'acme'"),
            |c| {
                own(c);
                let member = format!("serviceAccount:{OPERATOR}");
                let gcp = c.cloud.gcp();
                gcp.grant("projects/acme-prod", &member, USE)
                    .expect("a role");
                gcp.key(KEY).delete();
            },
        )
        .code("NOT_FOUND"),
        row(
            "wrong purpose",
            ("Misconfigured", "KeyUnusable", "ENCRYPT_DECRYPT"),
            |c| {
                own(c);
                let gcp = c.cloud.gcp();
                gcp.key(KEY).delete();
                gcp.create_key_for(KEY, "ASYMMETRIC_SIGN");
            },
        ),
        row(
            "no primary version",
            ("Misconfigured", "KeyUnusable", "primary version"),
            |c| {
                own(c);
                c.cloud.gcp().key(KEY).set_primary(None);
            },
        ),
        works("the newest version, after a rotation", |c| {
            own(c);
            c.cloud.gcp().key(KEY).rotate();
        })
        .check(|_, report| {
            ensure!(report["kekVersion"] == "2", "{report}");
            Ok(())
        }),
        row(
            "the service is not enabled where it is billed",
            (
                "Misconfigured",
                "CredentialRejected",
                "gcloud services enable 'cloudkms.googleapis.com'",
            ),
            |c| {
                own(c);
                c.cloud.gcp().disable_service("platform-1", KMS_HOST);
            },
        )
        .code("SERVICE_DISABLED"),
        works("another project that is billed", |c| {
            own(c);
            let member = format!("serviceAccount:{OPERATOR}");
            let gcp = c.cloud.gcp();
            gcp.disable_service("platform-1", KMS_HOST);
            let role = "roles/serviceusage.serviceUsageConsumer";
            gcp.grant("projects/acme-prod", &member, role)
                .expect("a role");
            c.spec = "  gcp: { projectId: acme-prod }\n".to_owned();
        }),
        row(
            "the account of the node is disabled",
            (
                "Misconfigured",
                "CredentialRejected",
                "does not accept the token",
            ),
            |c| {
                own(c);
                c.cloud.gcp().service_account(OPERATOR).disable();
            },
        )
        .code("ACCOUNT_STATE_INVALID"),
    ])
    .await;
}
