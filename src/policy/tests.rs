//! The file as a whole: what it grants, and that a refusal repeats nothing of it.

use super::*;
use crate::provider::TenantId;

const FILE: &str = r#"
apiVersion: config.tenantkms.dev/v1alpha1
kind: OperatorConfig
clientSecretVariables:
  - { name: AZURE_KC_CLIENT_SECRET, tenants: [tenants/acme] }
operatorIdentity:
  azure: managedIdentity
  allow: [{ tenants: ["tenants/*"], keys: ["https://acme-kv.vault.azure.net/keys/*"] }]
allowedEndpointSuffixes: [vault.example.test]
limits: { vaultHostRps: 7, agentCallerRps: 8 }
"#;

#[test]
fn grants_what_is_written_and_nothing_else() {
    let policy = parse(FILE).expect("valid");
    let acme = TenantId::new("tenants", "acme");
    let other = TenantId::new("other", "acme");
    assert!(policy.variable(&acme, "AZURE_KC_CLIENT_SECRET").is_ok());
    assert!(policy.variable(&other, "AZURE_KC_CLIENT_SECRET").is_err());
    let key = "https://acme-kv.vault.azure.net/keys/wrap";
    assert!(policy.allows_own_identity(&acme, key));
    assert!(!policy.names_own_identity(&acme, key));
    let exact = FILE.replace("tenants/*", "tenants/acme");
    let one_of_two = parse(&exact).expect("valid");
    assert!(!one_of_two.names_own_identity(&acme, key));
    let exact = parse(&exact.replace("keys/*", "keys/wrap")).expect("valid");
    assert!(exact.names_own_identity(&acme, key));
    assert!(!exact.names_own_identity(&other, key));
    assert!(!policy.allows_own_identity(&other, key));
    assert!(!policy.allows_own_identity(&acme, "https://acme-kv2.vault.azure.net/keys/wrap"));
    assert_eq!(policy.own_azure(), OwnAzure::ManagedIdentity);
    assert_eq!(policy.limits().agent_tenant_rps, 20_000);
    assert_eq!(policy.limits().agent_caller_rps, 8);
    assert_eq!(policy.unenforced(), ["vaultHostRps"]);
    assert!(
        policy
            .summary()
            .contains("not enforced yet   vaultHostRps\n")
    );
    assert!(!Policy::default().allows_own_identity(&acme, key));
}

#[test]
fn a_refusal_names_the_place_and_never_the_value() {
    let head = "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n";
    for (body, expected) in [
        ("hunter2: 1", "expected one of"),
        ("clientSecretVariables: hunter2", "expected a sequence"),
        (
            "clientSecretVariables: [{name: 'hunter2!', tenants: []}]",
            "clientSecretVariables[0].name",
        ),
        (
            "clientSecretVariables: [{name: A}]",
            "missing field `tenants`",
        ),
        (
            "clientSecretVariables: [{name: A, tenants: ['hunter2']}]",
            "clientSecretVariables[0].tenants",
        ),
        (
            "operatorIdentity: {azure: hunter2}",
            "expected one of `auto`",
        ),
        (
            "operatorIdentity: {allow: [{tenants: [], keys: [hunter2]}]}",
            "operatorIdentity.allow[0].keys",
        ),
        (
            "allowedEndpointSuffixes: [.hunter2]",
            "allowedEndpointSuffixes[0]",
        ),
        ("limits: {vaultHostRps: 0}", "limits.vaultHostRps"),
        ("limits: {agentTenantRps: 0}", "limits.agentTenantRps"),
        ("limits: {agentCallerRps: 0}", "limits.agentCallerRps"),
        ("limits: {agentTenantRps: hunter2}", "expected u32"),
        ("hunter2: [", "line "),
    ] {
        let error = parse(&format!("{head}{body}\n"))
            .expect_err(body)
            .to_string();
        assert!(error.contains(expected), "{body}: {error}");
        assert!(!error.contains("hunter2"), "{body}: {error}");
    }
    assert!(parse("").is_err());
    assert!(parse("apiVersion: v1\nkind: ConfigMap\n").is_err());
}

#[test]
fn the_page_shows_a_whole_file() {
    let page = include_str!("../../docs/configuration.md");
    let block = page.split_once("```yaml\n").expect("a block").1;
    let (file, _) = block.split_once("```").expect("its end");
    let policy = parse(file).expect("valid");
    assert_eq!(policy.limits(), Limits::default());
    assert_eq!(policy.own_azure(), OwnAzure::default());
    let acme = TenantId::new("tenants", "acme");
    assert_eq!(policy.variables_of(&acme).count(), 1);
    assert!(policy.allows_own_identity(&acme, "https://acme-kv.vault.azure.net/keys/wrap"));
    assert_eq!(policy.endpoint_suffixes().len(), 1);
}
