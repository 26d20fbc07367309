//! Google's workload identity federation: a token of the tenant's `ServiceAccount` is exchanged at the
//! customer's provider, which verifies it by this control plane's keys; then, where the spec says so, a
//! service account is impersonated. Each no is heard where the customer says it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fakecloud::gcp::STS_HOST;
use fakecloud::{CryptoKey, Effect, Fault, Gcp, KMS_HOST, Provider, VersionState};

use super::Town;
use super::account::account;
use crate::support::SOON;

const KEY: &str = "projects/acme-prod/locations/global/keyRings/tenants/cryptoKeys/acme";
const CUSTOMER: &str = "tenant-kms@acme-prod.iam.gserviceaccount.com";
/// proofTTL and interval, a confirmation, and the time a status takes on a busy machine to be written and seen.
const LIMIT: Duration = Duration::from_secs(60 + 5 + 20);
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
    for (state, reason) in [
        (VersionState::Disabled, "KeyDisabled"),
        (VersionState::DestroyScheduled, "KeyNotFound"),
        (VersionState::Destroyed, "KeyNotFound"),
    ] {
        customer.key.set_states(state);
        sealed(reason).await?;
        customer.key.set_states(VersionState::Enabled);
        town.retried("acme").await?;
    }
    // A pool that is disabled makes its tokens useless: why, is asked at once, not at the next purchase.
    customer.provider.disable();
    let void = Fault::on(KMS_HOST, Effect::google(401, "UNAUTHENTICATED"));
    let void = town.env.cloud.fault(void);
    let heard = sealed("AccessDenied").await?;
    let error = &heard["status"]["lastVerifyError"];
    ensure!(error["code"] == "invalid_target", "{error}");
    town.env.cloud.clear_fault(void);
    customer.provider.enable();
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

/// Sealed by a no at the identity services, though the key takes the tokens that they gave before.
async fn hears(customer: &Customer, code: &str) -> Result<()> {
    let begun = Instant::now();
    let env = &customer.town.env;
    let sealed = env
        .wait_condition("acme", "Sealed", "True", Some("AccessDenied"), LIMIT + SOON)
        .await?;
    let took = begun.elapsed();
    ensure!(took < LIMIT, "sealed after {took:?}");
    let error = &sealed["status"]["lastVerifyError"];
    ensure!(error["code"] == code, "{error}");
    Ok(())
}

#[tokio::test]
async fn a_no_at_the_identity_services_is_heard_within_proof_ttl() -> Result<()> {
    let customer = Customer::new("idgcpheard").await?;
    let Customer { town, gcp, .. } = &customer;
    let _operator = town.env.operator().await?;
    let becomes = gcp.service_account(CUSTOMER);
    gcp.grant(KEY, &becomes.member(), USE)?;
    let role = "roles/iam.workloadIdentityUser";
    gcp.grant(&becomes.resource(), &customer.principal, role)?;
    customer
        .apply(&format!(", impersonateServiceAccount: {CUSTOMER}"))
        .await?;
    town.retried("acme").await?;
    customer.provider.disable();
    hears(&customer, "invalid_target").await?;
    customer.provider.enable();
    town.retried("acme").await?;
    gcp.revoke(&becomes.resource(), &customer.principal);
    hears(&customer, "IAM_PERMISSION_DENIED").await?;
    gcp.grant(&becomes.resource(), &customer.principal, role)?;
    town.retried("acme").await?;
    becomes.disable();
    hears(&customer, "FAILED_PRECONDITION").await?;
    becomes.enable();
    town.retried("acme").await.map(drop)
}

#[tokio::test]
async fn what_sts_answers_that_is_no_no() -> Result<()> {
    let customer = Customer::new("idgcpsts").await?;
    let Customer { town, gcp, .. } = &customer;
    let _operator = town.env.operator().await?;
    gcp.grant(KEY, &customer.principal, USE)?;
    let status = |status, body: &str| Effect::Status {
        status,
        body: body.to_owned(),
        retry_after: None,
        headers: Vec::new(),
    };
    let fault = |effect| {
        let fault = Fault::on(STS_HOST, effect).operation("sts-token");
        town.env.cloud.fault(fault);
    };
    fault(Effect::google(503, "UNAVAILABLE"));
    customer.apply("").await?;
    for (effect, reason, hint) in [
        (
            Effect::google(429, "RESOURCE_EXHAUSTED"),
            "Throttled",
            "sts.googleapis.com throttles",
        ),
        (
            Effect::google(503, "UNAVAILABLE"),
            "ProviderError",
            "status 503",
        ),
        (
            status(403, "<html>hunter2</html>"),
            "ProviderError",
            "not in the form of Google's APIs",
        ),
        (
            status(
                400,
                r#"{"error":"invalid_request","error_description":"hunter2"}"#,
            ),
            "CredentialRejected",
            "providers describe 'platform'",
        ),
        (Effect::BigBody(70_000), "ProviderError", "over 64 KiB"),
        (Effect::Hang, "Unreachable", "sts.googleapis.com"),
    ] {
        town.env.cloud.clear_faults();
        fault(effect);
        let message = town.refused("acme", reason, hint).await?;
        let told = ["gcloud ", "curl "].iter().any(|one| message.contains(one));
        ensure!(told && !message.contains("hunter2"), "{message}");
    }
    town.env.cloud.clear_faults();
    town.retried("acme").await.map(drop)
}
