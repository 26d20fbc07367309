//! What is refused before anything is sent: the cloud, the proxy and the metadata service see not
//! one connection.

use super::{CLIENT, Customer, DIRECTORY, Row, VARIABLE, config, row, run, with_secret};

fn key(
    name: &'static str,
    (reason, hint): (&'static str, &'static str),
    key_ref: &'static str,
) -> Row {
    let kind = if reason == "EndpointNotAllowed" {
        "Denial"
    } else {
        "Misconfigured"
    };
    row(name, (kind, reason, hint), move |c| {
        key_ref.clone_into(&mut c.key_ref);
    })
    .sends_nothing()
}

fn spec(
    name: &'static str,
    (reason, hint): (&'static str, &'static str),
    azure: &'static str,
) -> Row {
    let arrange = move |c: &mut Customer| c.spec = format!("  azure: {{ {azure} }}\n");
    row(name, ("Misconfigured", reason, hint), arrange).sends_nothing()
}

const INVALID: (&str, &str) = ("InvalidKeyRef", "az keyvault key show");
const NOT_A_HOST: (&str, &str) = ("EndpointNotAllowed", "allowedEndpointSuffixes");

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_keys_are_never_asked_for() {
    run(vec![
        key(
            "host outside the suffixes",
            NOT_A_HOST,
            "https://acme.example.com/keys/wrap",
        ),
        key(
            "evilvault",
            NOT_A_HOST,
            "https://evilvault.azure.net/keys/wrap",
        ),
        key(
            "suffix in the middle",
            NOT_A_HOST,
            "https://a.vault.azure.net.evil.test/keys/wrap",
        ),
        key(
            "metadata service",
            NOT_A_HOST,
            "https://169.254.169.254/keys/wrap",
        ),
        key("loopback", NOT_A_HOST, "https://localhost/keys/wrap"),
        key(
            "../secrets/x",
            INVALID,
            "https://acme-kv.vault.azure.net/keys/../secrets/x",
        )
        .hides("secrets/x"),
        key(
            "encoded dots",
            INVALID,
            "https://acme-kv.vault.azure.net/keys/%2e%2e",
        ),
        key(
            "a secret",
            INVALID,
            "https://acme-kv.vault.azure.net/secrets/x",
        ),
        key(
            "port",
            INVALID,
            "https://acme-kv.vault.azure.net:8443/keys/wrap",
        ),
        key(
            "the usual port",
            INVALID,
            "https://acme-kv.vault.azure.net:443/keys/wrap",
        ),
        key(
            "user info",
            INVALID,
            "https://user:hunter2@acme-kv.vault.azure.net/keys/wrap",
        )
        .hides("hunter2"),
        key(
            "user info that hides the host",
            INVALID,
            "https://acme-kv.vault.azure.net@evil.test/keys/wrap",
        ),
        key(
            "backslash",
            INVALID,
            "https://evil.test\\.vault.azure.net/keys/wrap",
        ),
        key(
            "plain http",
            INVALID,
            "http://acme-kv.vault.azure.net/keys/wrap",
        ),
        key(
            "query",
            INVALID,
            "https://acme-kv.vault.azure.net/keys/wrap?x=hunter2",
        )
        .hides("hunter2"),
        key(
            "version too short",
            INVALID,
            "https://acme-kv.vault.azure.net/keys/wrap/12",
        ),
        key(
            "control characters",
            INVALID,
            "https://acme-kv.vault.azure.net/keys/wrap\u{1b}[31m",
        ),
        key("a secret instead of a key", INVALID, "Zq8~Q.hunter2").hides("hunter2"),
        spec(
            "another vaultUrl",
            ("InvalidKeyRef", "'https://acme-kv.vault.azure.net'"),
            "vaultUrl: 'https://other-kv.vault.azure.net'",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_does_not_allow_is_never_tried() {
    const PASTED: &str = "Zq8~Q.pasted-by-mistake";
    const SHOUTED: &str = "PASTED_IN_CAPITALS_0123456789";
    let denied = |hint: &'static str| ("Denial", "NotAllowed", hint);
    let variable =
        |name: &'static str| move |c: &mut Customer| c.spec = with_secret(DIRECTORY, CLIENT, name);
    let own = |body: &'static str| {
        move |c: &mut Customer| {
            c.spec.clear();
            c.config = config(body);
            c.cloud.imds().system_assigned(&c.directory);
        }
    };
    run(vec![
        row(
            "variable in another case",
            denied("Did you mean AZURE_KC_CLIENT_SECRET?"),
            variable("azure_kc_client_secret"),
        )
        .sends_nothing(),
        row(
            "variable with a typo",
            denied("Did you mean AZURE_KC_CLIENT_SECRET?"),
            variable("AZURE_KC_CLEINT_SECRET"),
        )
        .sends_nothing(),
        row(
            "variable of another tenant",
            denied("clientSecretVariables"),
            |c| {
                c.config = config(&format!(
                    "clientSecretVariables: [{{ name: {VARIABLE}, tenants: [tenants/other] }}]"
                ));
            },
        )
        .sends_nothing()
        .hides("Did you mean"),
        row(
            "a near miss of another tenant's variable",
            denied("clientSecretVariables"),
            |c| {
                c.spec = with_secret(DIRECTORY, CLIENT, "AZURE_KC_CLIENT_SECRE");
                c.config = config(&format!(
                    "clientSecretVariables: [{{ name: {VARIABLE}, tenants: ['others/*'] }}]"
                ));
            },
        )
        .sends_nothing()
        .hides(VARIABLE),
        row(
            "variable of the operator's environment",
            denied("clientSecretVariables"),
            variable("HTTPS_PROXY"),
        )
        .sends_nothing()
        .hides("127.0.0.1"),
        row(
            "a raw secret as the name",
            ("Misconfigured", "EnvVarNotFound", "not repeated"),
            variable(PASTED),
        )
        .sends_nothing()
        .hides(PASTED),
        row(
            "a raw secret that looks like a name",
            denied("clientSecretVariables"),
            variable(SHOUTED),
        )
        .sends_nothing()
        .hides(SHOUTED),
        row(
            "variable that is not there",
            ("Misconfigured", "EnvVarNotFound", "kubectl create secret"),
            |c| {
                c.secret = None;
            },
        )
        .sends_nothing(),
        row(
            "variable that is empty",
            ("Misconfigured", "EnvVarNotFound", "is empty"),
            |c| {
                c.secret = Some("\n".to_owned());
            },
        )
        .sends_nothing(),
        row(
            "own identity, nothing allowed",
            denied("operatorIdentity.allow"),
            own(""),
        )
        .sends_nothing(),
        row(
            "own identity, another key",
            denied("operatorIdentity.allow"),
            own(
                "operatorIdentity: { allow: [{ tenants: ['tenants/*'], keys: \
                 ['https://acme-kv.vault.azure.net/keys/wra'] }] }",
            ),
        )
        .sends_nothing(),
        row(
            "own identity, another tenant",
            denied("operatorIdentity.allow"),
            own(
                "operatorIdentity: { allow: [{ tenants: [tenants/acm], keys: \
                 ['https://acme-kv.vault.azure.net/*'] }] }",
            ),
        )
        .sends_nothing(),
        row(
            "a node's identity by id needs the same grant",
            denied("operatorIdentity.allow"),
            |c| {
                c.spec = format!("  azure: {{ managedIdentity: {{ clientId: {CLIENT} }} }}\n");
            },
        )
        .sends_nothing(),
        row(
            "own identity at an added suffix",
            ("Denial", "EndpointNotAllowed", "credential of its own"),
            |c| {
                c.spec.clear();
                c.key_ref = "https://acme.kv.example.test/keys/wrap".to_owned();
                c.config = config(
                    "allowedEndpointSuffixes: [kv.example.test]\noperatorIdentity: { allow: \
                 [{ tenants: ['tenants/*'], keys: ['https://acme.kv.example.test/*'] }] }",
                );
            },
        )
        .sends_nothing(),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_credential_is_none() {
    const WHOLE: (&str, &str) = ("CredentialNotFound", "names no whole credential");
    run(vec![
        spec("secret without ids", WHOLE, "clientSecret: { envVar: AZURE_KC_CLIENT_SECRET }"),
        spec("two credentials", WHOLE,
            "managedIdentity: {}, tenantId: aaaabbbb-cccc-dddd-eeee-ffff00001111"),
        spec("an id that is no GUID", ("CredentialNotFound", "no GUID"),
            "tenantId: common, clientId: x, clientSecret: { envVar: AZURE_KC_CLIENT_SECRET }"),
        spec("two managed identities", ("CredentialNotFound", "exactly one"),
            "managedIdentity: { clientId: 11112222-3333-4444-5555-666677778888, objectId: \
             11112222-3333-4444-5555-666677778888 }"),
        spec("ids alone", ("IdentityUnavailable", "Nothing was sent"),
            "tenantId: aaaabbbb-cccc-dddd-eeee-ffff00001111, clientId: \
             11112222-3333-4444-5555-666677778888"),
        spec("a ServiceAccount of nobody", WHOLE, "serviceAccountName: acme"),
        spec("a ServiceAccount", ("IdentityUnavailable", "here there is no cluster"),
            "serviceAccountName: acme, tenantId: aaaabbbb-cccc-dddd-eeee-ffff00001111, clientId: \
             11112222-3333-4444-5555-666677778888"),
        spec("a Secret", ("SecretNotFound", "here there is no cluster"),
            "tenantId: aaaabbbb-cccc-dddd-eeee-ffff00001111, clientId: \
             11112222-3333-4444-5555-666677778888, clientSecret: { secretRef: { name: a, key: b } }"),
        row("workload identity, by the webhook's variables",
            ("Misconfigured", "IdentityUnavailable", "workload identity"), |c| {
            c.with_own_identity();
            for name in ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"] {
                c.env.push((name.to_owned(), "x".to_owned()));
            }
        })
        .sends_nothing(),
        row("another provider", ("Misconfigured", "InvalidKeyRef", "gcloud kms keys list"), |c| {
            c.spec.clear();
            c.provider = "gcp";
        })
        .sends_nothing(),
    ])
    .await;
}
