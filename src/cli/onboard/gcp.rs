//! `tenant-kms onboard gcp`: from arguments to a checked plan, for each identity.

mod commands;

use serde_json::json;

use super::{Output, Script, granted, issuer, manifest, no_key, own_account, right, tenant};
use crate::api::{GcpSpec, ProviderKind, TenantKmsSpec};
use crate::policy::pattern::is_google_project;
use crate::provider::TenantId;
use crate::provider::gcp::{KeyRef, Subject, is_account, is_provider, subject};

/// What `google.subject` may have; cloud.google.com/iam/docs, "Workload Identity Federation".
const LONGEST_SUBJECT: usize = 127;

/// Print the customer's commands and the platform's manifest for a key in Google Cloud
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The key's name: `projects/P/locations/L/keyRings/R/cryptoKeys/K`
    #[arg(long, value_name = "NAME")]
    key: String,
    /// Who the operator is, where its own identity is used: the address of a service account, or a
    /// `principal://…` of Workload Identity Federation for GKE
    #[arg(long, value_name = "MEMBER", required_unless_present = "provider")]
    operator: Option<String>,
    /// The customer's provider that shall trust the tenant's `ServiceAccount`, made if it is not there:
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME`
    #[arg(
        long,
        value_name = "NAME",
        requires_all = ["service_account", "issuer"],
        conflicts_with = "operator"
    )]
    provider: Option<String>,
    /// The `ServiceAccount` of the tenant's namespace that the provider shall trust
    #[arg(long, value_name = "NS/NAME", requires = "provider")]
    service_account: Option<String>,
    /// The cluster's OIDC issuer: kubectl get --raw /.well-known/openid-configuration
    #[arg(long, value_name = "URL", requires = "provider")]
    issuer: Option<String>,
    /// A service account of the customer's that is impersonated, made if it is not there
    #[arg(long, value_name = "EMAIL")]
    impersonate: Option<String>,
    /// The project that is billed for the calls; without it that of the identity that calls
    #[arg(long, value_name = "ID")]
    billed_project: Option<String>,
    /// The tenant's namespace and name; the name is the key's project when absent
    #[arg(long, value_name = "NS/NAME")]
    tenant: Option<String>,
    #[arg(short, long, value_enum, default_value_t = Output::All)]
    output: Output,
}

/// Everything checked.
#[derive(Debug)]
struct Plan {
    subject: Subject,
    /// Of the operator, where its own identity is used.
    operator: Option<String>,
    /// Of the tenant's `ServiceAccount`, where that is used.
    issuer: Option<String>,
}

pub fn script(args: &Args) -> Result<Script, String> {
    let key = KeyRef::parse(&args.key).map_err(|failure| no_key(&failure))?;
    let tenant = match &args.tenant {
        Some(text) => tenant(text)?,
        None => TenantId::new(
            "tenants",
            key.project.rsplit(':').next().unwrap_or_default(),
        ),
    };
    let lent = lent(args, &tenant)?;
    let spec = spec(args, lent.as_deref())?;
    let plan = Plan {
        subject: subject(&tenant, &spec).map_err(|failure| failure.into_details().message)?,
        operator: args.operator.as_deref().map(operator).transpose()?,
        issuer: args.issuer.as_deref().map(issuer).transpose()?,
    };
    Ok(Script {
        customer: commands::customer(&plan),
        first: match &lent {
            Some(name) => right(&tenant, &format!("serviceAccounts: [{name}]")),
            None => granted(&tenant, &key.id, None),
        },
        manifest: manifest(&tenant, lent.as_deref(), &json!(spec))?,
        tenant,
        output: args.output,
    })
}

/// The `ServiceAccount` that the tenant's namespace lends; Google limits its subject.
fn lent(args: &Args, tenant: &TenantId) -> Result<Option<String>, String> {
    let Some(name) = own_account(args.service_account.as_deref(), tenant)? else {
        return Ok(None);
    };
    let length = format!("system:serviceaccount:{}:{name}", tenant.namespace).len();
    if length > LONGEST_SUBJECT {
        return Err(format!(
            "--service-account: the subject of its tokens has {length} characters, and Google takes \
             {LONGEST_SUBJECT}. Choose a shorter name"
        ));
    }
    Ok(Some(name))
}

fn spec(args: &Args, lent: Option<&str>) -> Result<TenantKmsSpec, String> {
    const HIDDEN: &str = "It is not repeated here, because it may be a secret";
    let checked = |value: &Option<String>, sound: fn(&str) -> bool, says: &str| match value {
        Some(text) if !sound(text) => Err(format!("{says}. {HIDDEN}")),
        value => Ok(value.clone()),
    };
    let gcp = GcpSpec {
        impersonate_service_account: checked(
            &args.impersonate,
            is_account,
            "--impersonate is not the address of a service account, \
             NAME@PROJECT.iam.gserviceaccount.com",
        )?,
        project_id: checked(
            &args.billed_project,
            is_google_project,
            "--billed-project is not the id of a project",
        )?,
        workload_identity_provider: checked(
            &args.provider,
            is_provider,
            "--provider is not a provider's name, with the number of its project: \
             projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME, the number \
             by: gcloud projects describe '<project>' --format 'value(projectNumber)'",
        )?,
        service_account_name: lent.map(str::to_owned),
    };
    Ok(TenantKmsSpec {
        gcp: (gcp != GcpSpec::default()).then(|| Box::new(gcp)),
        ..TenantKmsSpec::new(ProviderKind::Gcp, &args.key)
    })
}

/// As IAM names the operator, but for the word in front of a service account's address.
fn operator(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
    let principal = text
        .strip_prefix("principal://iam.googleapis.com/projects/")
        .is_some_and(|rest| rest.contains("/subject/") && rest.bytes().all(plain));
    if principal || is_account(text) {
        return Ok(text.to_owned());
    }
    Err(
        "--operator is neither the address of a service account nor \
         principal://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/\
         PROJECT.svc.id.goog/subject/ns/NAMESPACE/sa/NAME"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests;
