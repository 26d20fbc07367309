//! When a client stands in for another one, and when it must not. Nothing is sent by connecting,
//! so nothing needs to answer here.

use tempfile::TempDir;

use super::*;
use crate::api::Reason;
use crate::policy;
use crate::provider::Kind;

const VARIABLE: &str = "ACME_SECRET";

struct Setup {
    providers: Providers,
    policy: watch::Sender<Arc<Policy>>,
    folder: TempDir,
    tenant: TenantId,
}

fn allowing(tenants: &str) -> Arc<Policy> {
    let text = format!(
        "apiVersion: {}\nkind: {}\nclientSecretVariables: [{{ name: {VARIABLE}, tenants: \
         ['{tenants}'] }}]\n",
        policy::API_VERSION,
        policy::KIND
    );
    Arc::new(policy::parse(&text).expect("valid"))
}

impl Setup {
    fn new() -> Self {
        // Fails only when it was done before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = TempDir::new().expect("folder");
        let (policy, policies) = watch::channel(allowing("tenants/*"));
        let secrets = SecretSource::new(Some(folder.path().to_owned()));
        let providers = Providers::new(policies, secrets, AzureIdentity::ManagedIdentity);
        let setup = Self {
            providers: providers.expect("a client"),
            policy,
            folder,
            tenant: TenantId::new("tenants", "acme"),
        };
        setup.write_secret("one");
        setup
    }

    fn write_secret(&self, value: &str) {
        std::fs::write(self.folder.path().join(VARIABLE), value).expect("write");
    }

    async fn connect(&self, key: &str, fresh: bool) -> Result<Arc<dyn Kms>, Failure> {
        let spec = serde_json::json!({
            "provider": "azure",
            "kmsKeyRef": format!("https://acme-kv.vault.azure.net/keys/{key}"),
            "azure": {
                "tenantId": "aaaabbbb-cccc-dddd-eeee-ffff00001111",
                "clientId": "11112222-3333-4444-5555-666677778888",
                "clientSecret": { "envVar": VARIABLE },
            },
        });
        let spec = serde_json::from_value(spec).expect("a spec");
        let anchor = Anchor::default();
        self.providers
            .connect(&self.tenant, &spec, &anchor, fresh)
            .await
    }

    async fn client(&self, key: &str) -> Arc<dyn Kms> {
        self.connect(key, false).await.expect("connected")
    }
}

#[tokio::test]
async fn the_same_spec_and_secret_share_a_client() {
    let setup = Setup::new();
    let first = setup.client("a").await;
    assert!(Arc::ptr_eq(&first, &setup.client("a").await));
    // A spec in force and one that is being decided do not push each other out.
    let second = setup.client("b").await;
    assert!(Arc::ptr_eq(&first, &setup.client("a").await));
    assert!(Arc::ptr_eq(&second, &setup.client("b").await));
}

#[tokio::test]
async fn a_fresh_client_replaces_the_old_one() {
    let setup = Setup::new();
    let first = setup.client("a").await;
    let fresh = setup.connect("a", true).await.expect("connected");
    assert!(!Arc::ptr_eq(&first, &fresh));
    assert!(Arc::ptr_eq(&fresh, &setup.client("a").await));
    setup.providers.forget(&setup.tenant);
    assert!(!Arc::ptr_eq(&fresh, &setup.client("a").await));
}

#[tokio::test]
async fn another_secret_makes_another_client() {
    let setup = Setup::new();
    let first = setup.client("a").await;
    setup.write_secret("two");
    let second = setup.client("a").await;
    assert!(!Arc::ptr_eq(&first, &second));
    std::fs::remove_file(setup.folder.path().join(VARIABLE)).expect("remove");
    let failure = setup.connect("a", false).await.err().expect("refused");
    assert_eq!(failure.reason, Reason::EnvVarNotFound);
}

#[tokio::test]
async fn a_grant_withdrawn_is_heard_although_a_client_is_at_hand() {
    let setup = Setup::new();
    setup.client("a").await;
    setup.policy.send_replace(allowing("others/*"));
    let failure = setup.connect("a", false).await.err().expect("refused");
    assert_eq!(
        (failure.kind, failure.reason),
        (Kind::Denial, Reason::NotAllowed)
    );
    setup.policy.send_replace(allowing("tenants/acme"));
    assert!(setup.connect("a", false).await.is_ok());
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn a_client_of_aws_is_for_what_is_on_record() {
    let setup = Setup::new();
    let key = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let text = format!(
        "apiVersion: {}\nkind: {}\noperatorIdentity: {{ allow: [{{ tenants: [tenants/acme], keys: \
         ['{key}'] }}] }}\n",
        policy::API_VERSION,
        policy::KIND
    );
    let allowed = Arc::new(policy::parse(&text).expect("valid"));
    setup.policy.send_replace(allowed);
    let spec = serde_json::json!({
        "provider": "aws", "kmsKeyRef": key,
        "aws": { "roleArn": "arn:aws:iam::444455556666:role/acme" },
    });
    let spec: TenantKmsSpec = serde_json::from_value(spec).expect("a spec");
    let connect = async |uid: &str| {
        let anchor = Anchor::of(uid, None);
        let client = setup
            .providers
            .connect(&setup.tenant, &spec, &anchor, false);
        client.await.expect("connected")
    };
    let first = connect("a").await;
    assert!(Arc::ptr_eq(&first, &connect("a").await));
    assert!(
        !Arc::ptr_eq(&first, &connect("b").await),
        "another external id"
    );
}

#[tokio::test]
async fn a_cloud_that_was_not_built_is_told() {
    let mut setup = Setup::new();
    setup.providers.clouds.clear();
    let failure = setup.connect("a", false).await.err().expect("refused");
    assert_eq!(failure.reason, Reason::ProviderNotBuilt);
    assert!(failure.message.contains("'azure'"), "{}", failure.message);
}
