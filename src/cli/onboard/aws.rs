//! `tenant-kms onboard aws`: from arguments to a checked plan, for each identity.

mod commands;

use serde_json::json;

use super::{Output, Script, granted, issuer, manifest, no_key, own_account, right, tenant};
use crate::api::{AwsSpec, ProviderKind, TenantKmsSpec};
use crate::credentials::quoted;
use crate::provider::TenantId;
use crate::provider::aws::{KeyRef, Subject, Who, is_role, subject};

/// Print the customer's commands and the platform's manifest for a key in AWS KMS
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The ARN of the key, or of an alias of it
    #[arg(long, value_name = "ARN")]
    key: String,
    /// The role of the operator's pod: its own identity, or what the customer's role trusts
    #[arg(long, value_name = "ARN", required_unless_present = "service_account")]
    operator: Option<String>,
    /// The customer's role that uses the key, made if it is not there; without it the operator's own
    /// identity is used
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
    /// The external id that the operator issued to this tenant. It is in the status of the `TenantKms`, so
    /// that is applied first: --output manifest
    #[arg(long, value_name = "ID", requires = "role")]
    external_id: Option<String>,
    /// The `ServiceAccount` of the tenant's namespace that the role shall trust, instead of the operator
    #[arg(
        long,
        value_name = "NS/NAME",
        requires_all = ["role", "issuer"],
        conflicts_with_all = ["operator", "external_id"]
    )]
    service_account: Option<String>,
    /// The cluster's OIDC issuer: kubectl get --raw /.well-known/openid-configuration
    #[arg(long, value_name = "URL", requires = "service_account")]
    issuer: Option<String>,
    /// The tenant's namespace and name
    #[arg(long, value_name = "NS/NAME")]
    tenant: String,
    #[arg(short, long, value_enum, default_value_t = Output::All)]
    output: Output,
}

/// Everything checked.
#[derive(Debug)]
struct Plan {
    subject: Subject,
    /// Of the tenant's `ServiceAccount`, where that is used.
    issuer: Option<String>,
}

/// In its place where only the manifest is printed, which has none.
const NOT_ISSUED_YET: &str = "-";

pub fn script(args: &Args) -> Result<Script, String> {
    let key = KeyRef::parse(&args.key).map_err(|failure| no_key(&failure))?;
    let tenant = tenant(&args.tenant)?;
    let partition = key.region.partition;
    for (option, value) in [("--operator", &args.operator), ("--role", &args.role)] {
        if value.as_ref().is_some_and(|arn| !is_role(arn, partition)) {
            return Err(format!(
                "{option} is no ARN of a role in the partition of the key, {partition}: aws iam \
                 get-role --role-name '<role>' --query Role.Arn --output text"
            ));
        }
    }
    let lent = own_account(args.service_account.as_deref(), &tenant)?;
    let spec = spec(args, lent.as_deref());
    let external_id = external_id(args, &tenant)?;
    let own = args.operator.as_deref();
    let subject = subject(&tenant, &spec, Some(external_id), own);
    let plan = Plan {
        subject: subject.map_err(|failure| failure.into_details().message)?,
        issuer: args.issuer.as_deref().map(issuer).transpose()?,
    };
    Ok(Script {
        customer: commands::customer(&plan),
        first: match &lent {
            Some(name) => right(&tenant, &format!("serviceAccounts: [{name}]")),
            None => granted(&tenant, &key.arn, None) + &commands::operator(&plan),
        },
        manifest: manifest(&tenant, lent.as_deref(), &json!(spec))?,
        tenant,
        output: args.output,
    })
}

fn spec(args: &Args, lent: Option<&str>) -> TenantKmsSpec {
    let aws = args.role.as_ref().map(|role| AwsSpec {
        role_arn: Some(role.clone()),
        service_account_name: lent.map(str::to_owned),
        ..AwsSpec::default()
    });
    TenantKmsSpec {
        aws: aws.map(Box::new),
        ..TenantKmsSpec::new(ProviderKind::Aws, &args.key)
    }
}

/// What a role that trusts the operator asks for: nobody but the operator issues it.
fn external_id<'a>(args: &'a Args, tenant: &TenantId) -> Result<&'a str, String> {
    let issued = |id: &&str| {
        let hex = id.strip_prefix("tkms-").unwrap_or_default();
        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let needed = args.role.is_some() && args.service_account.is_none();
    match args.external_id.as_deref() {
        None if needed && args.output != Output::Manifest => {}
        None => return Ok(NOT_ISSUED_YET),
        Some(id) if issued(&id) => return Ok(id),
        Some(_) => {}
    }
    Err(format!(
        "--external-id is what the operator issued to this tenant. Apply what --output manifest \
         prints, then read it: kubectl get tkms {} --namespace {} --output \
         jsonpath='{{.status.externalId}}'",
        quoted(&tenant.name),
        quoted(&tenant.namespace)
    ))
}

#[cfg(test)]
mod tests;
