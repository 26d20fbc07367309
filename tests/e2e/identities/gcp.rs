//! Google's workload identity federation: a token of the tenant's `ServiceAccount` is exchanged at the
//! customer's provider, which verifies it by this control plane's keys; then, where the spec says so, a
//! service account is impersonated. Each no is heard where the customer says it.

use anyhow::Result;
use fakecloud::{CryptoKey, Gcp, Provider};

use super::Town;
use super::account::account;
use crate::support::SOON;

const KEY: &str = "projects/acme-prod/locations/global/keyRings/tenants/cryptoKeys/acme";
const CUSTOMER: &str = "tenant-kms@acme-prod.iam.gserviceaccount.com";
const USE: &str = "roles/cloudkms.cryptoKeyEncrypterDecrypter";

struct Customer {
    town: Town,
    gcp: Gcp,
    key: CryptoKey,
    provider: Provider,
    principal: String,
}

impl Customer {
    /// A key nobody may use yet, a provider that trusts the control plane, a `ServiceAccount` that is lent.
    async fn new(name: &str) -> Result<Self> {
        let town = Town::new(name).await?;
        let gcp = town.env.cloud.gcp();
        let number = gcp.project("acme-prod");
        let provider = format!(
            "projects/{number}/locations/global/workloadIdentityPools/tenants/providers/platform"
        );
        let provider = gcp.provider(&provider, &town.issuer);
        let principal = provider.principal(&town.subject("acme-kms"));
        account(&town, "acme-kms", "acme").await?;
        Ok(Self {
            key: gcp.create_key(KEY),
            gcp,
            provider,
            principal,
            town,
        })
    }

    async fn apply(&self, more: &str) -> Result<()> {
        let manifest = format!(
            "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\nmetadata: {{ name: acme }}\n\
             spec:\n  provider: gcp\n  kmsKeyRef: {KEY}\n  verify: {{ interval: 5s, proofTTL: 1m }}\n  \
             gcp: {{ workloadIdentityProvider: {}, serviceAccountName: acme-kms{more} }}\n",
            self.provider.name()
        );
        self.town.env.apply(&manifest).await?.success()?;
        let rights = self
            .town
            .refused("acme", "IdentityUnavailable", "serviceaccounts/token")
            .await?;
        self.town.run(&rights).await
    }

    async fn denied(&self, hint: &str) -> Result<String> {
        self.town.refused("acme", "AccessDenied", hint).await
    }
}

#[tokio::test]
async fn a_token_of_the_tenants_account_is_exchanged_at_googles_sts() -> Result<()> {
    let customer = Customer::new("idgcp").await?;
    let Customer { town, gcp, .. } = &customer;
    let _operator = town.env.operator().await?;
    customer.provider.disable();
    customer.apply("").await?;
    customer.denied("update-oidc 'platform'").await?;
    assert_eq!(town.code("acme").await?, "invalid_target");
    customer.provider.enable();
    customer.provider.only_subject(Some("somebody else"));
    customer.denied("attributeCondition").await?;
    customer.provider.only_subject(None);
    customer.provider.set_issuer("https://other.example");
    let message = town
        .refused("acme", "CredentialRejected", "does not accept the token")
        .await?;
    assert!(message.contains(&town.issuer), "{message}");
    customer.provider.set_issuer(&town.issuer);
    let message = customer
        .denied("gcloud kms keys add-iam-policy-binding 'acme'")
        .await?;
    assert!(message.contains(&customer.principal), "{message}");

    gcp.grant(KEY, &customer.principal, USE)?;
    let active = town.retried("acme").await?;
    let identity = active["status"]["identity"].as_str().unwrap_or_default();
    assert!(identity.contains("/acme-kms by projects/"), "{identity}");
    assert_eq!(active["status"]["kekVersion"], "1");

    // The customer says no, yes, and no at the key itself.
    gcp.revoke(KEY, &customer.principal);
    let sealed = |reason| {
        town.env
            .wait_condition("acme", "Sealed", "True", Some(reason), SOON)
    };
    sealed("AccessDenied").await?;
    gcp.grant(KEY, &customer.principal, USE)?;
    town.retried("acme").await?;
    customer.key.set_states(fakecloud::VersionState::Disabled);
    sealed("KeyDisabled").await?;
    customer.key.set_states(fakecloud::VersionState::Enabled);
    town.retried("acme").await?;
    let issued = town.env.cloud.issued();
    assert!(issued.iter().any(|one| one.starts_with("ya29.d.")));
    Ok(())
}

#[tokio::test]
async fn the_exchanged_token_becomes_the_customers_service_account() -> Result<()> {
    let customer = Customer::new("idgcpimp").await?;
    let Customer { town, gcp, .. } = &customer;
    let _operator = town.env.operator().await?;
    let becomes = gcp.service_account(CUSTOMER);
    gcp.grant(KEY, &becomes.member(), USE)?;
    customer
        .apply(&format!(", impersonateServiceAccount: {CUSTOMER}"))
        .await?;
    let message = customer.denied("impersonation is denied").await?;
    assert!(
        message.contains("'roles/iam.workloadIdentityUser'"),
        "{message}"
    );
    assert!(message.contains(&customer.principal), "{message}");
    let role = "roles/iam.workloadIdentityUser";
    gcp.grant(&becomes.resource(), &customer.principal, role)?;
    let active = town.retried("acme").await?;
    let identity = active["status"]["identity"].as_str().unwrap_or_default();
    assert!(identity.starts_with(CUSTOMER), "{identity}");
    gcp.revoke(KEY, &becomes.member());
    let sealed = town
        .env
        .wait_condition("acme", "Sealed", "True", Some("AccessDenied"), SOON);
    sealed.await.map(drop)
}
