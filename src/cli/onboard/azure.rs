//! `tenant-kms onboard azure`: from arguments to a checked plan, for each identity.

mod commands;
mod manifest;

use super::{Output, Script, account, issuer, no_key, tenant};
use crate::policy::is_variable_name;
use crate::policy::pattern::is_dns_name;
use crate::provider::TenantId;
use crate::provider::azure::is_guid;
use crate::provider::azure::keyref::KeyRef;

/// Print the customer's commands and the platform's manifest for a key in Azure
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The key's address: `https://VAULT.vault.azure.net/keys/NAME`, with /VERSION to pin one
    #[arg(long, value_name = "URL")]
    key: String,
    /// How the platform proves who it is
    #[arg(long, value_enum, default_value_t = Identity::Workload)]
    identity: Identity,
    /// The customer's directory, for an application there; without it the operator's own identity
    /// is used
    #[arg(long, value_name = "GUID")]
    tenant_id: Option<String>,
    /// The application, or without --tenant-id the operator's own identity: its client id
    #[arg(long, value_name = "GUID")]
    client_id: String,
    /// Whose tokens the application shall trust: the operator's `ServiceAccount`, or one in the
    /// tenant's namespace, which then is the tenant's own
    #[arg(long, value_name = "NS/NAME")]
    service_account: Option<String>,
    /// The cluster's OIDC issuer: az aks show --query oidcIssuerProfile.issuerUrl
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The variable that a client secret is read from
    #[arg(long, value_name = "NAME", default_value = "AZURE_KC_CLIENT_SECRET")]
    secret_variable: String,
    /// A Secret of the tenant's namespace that a client secret is read from, instead of a variable
    #[arg(long, value_name = "NAME", conflicts_with = "secret_variable")]
    secret: Option<String>,
    /// The tenant's namespace and name; the name is the vault's when absent
    #[arg(long, value_name = "NS/NAME")]
    tenant: Option<String>,
    #[arg(short, long, value_enum, default_value_t = Output::All)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Identity {
    /// The token of a Kubernetes `ServiceAccount`, exchanged
    Workload,
    /// A user-assigned managed identity of the nodes; reaches its own directory only
    Managed,
    /// An application's client secret
    Secret,
}

/// Everything checked.
#[derive(Debug)]
struct Plan {
    key: KeyRef,
    /// As it was given: the manifest shows the customer's own spelling.
    key_url: String,
    tenant: TenantId,
    client: String,
    who: Who,
}

#[derive(Debug, PartialEq, Eq)]
enum Who {
    /// The platform's own identity, which the customer only grants.
    Own { managed: bool },
    /// An application in the customer's directory with a client secret.
    Secret {
        directory: String,
        place: SecretPlace,
    },
    /// An application that trusts this cluster.
    Federated {
        directory: String,
        issuer: String,
        subject: String,
        /// Of the tenant's own `ServiceAccount`; `None` is the operator's.
        lent: Option<String>,
    },
}

/// Where the operator finds the client secret.
#[derive(Debug, PartialEq, Eq)]
enum SecretPlace {
    Variable(String),
    /// A Secret of the tenant's namespace, which lends it.
    Lent(String),
}

pub fn script(args: &Args) -> Result<Script, String> {
    let plan = plan(args)?;
    Ok(Script {
        customer: commands::customer(&plan),
        first: commands::platform(&plan),
        manifest: manifest::yaml(&plan)?,
        tenant: plan.tenant,
        output: args.output,
    })
}

fn plan(args: &Args) -> Result<Plan, String> {
    let key = KeyRef::parse(&args.key, &[], None).map_err(|failure| no_key(&failure))?;
    let client = guid("--client-id", &args.client_id)?;
    let directory = args.tenant_id.as_deref();
    let directory = directory.map(|id| guid("--tenant-id", id)).transpose()?;
    let tenant = match &args.tenant {
        Some(text) => tenant(text)?,
        None => TenantId::new("tenants", key.host.split('.').next().unwrap_or_default()),
    };
    let trust = args.service_account.is_some() || args.issuer.is_some();
    let who = match (args.identity, directory) {
        (Identity::Managed, Some(_)) => {
            return Err(
                "--identity managed goes without --tenant-id: a managed identity reaches only \
                 vaults of its own directory. For another one use --identity workload"
                    .to_owned(),
            );
        }
        (Identity::Secret, None) => {
            return Err(
                "--identity secret needs --tenant-id, the directory of the application: az \
                 account show --query tenantId --output tsv"
                    .to_owned(),
            );
        }
        (Identity::Managed | Identity::Secret, _) | (Identity::Workload, None) if trust => {
            return Err(
                "--service-account and --issuer make an application trust this cluster: they go \
                 with --identity workload and --tenant-id"
                    .to_owned(),
            );
        }
        (identity, _) if identity != Identity::Secret && args.secret.is_some() => {
            return Err(
                "--secret names a client secret's place: it goes with --identity \
                        secret"
                    .to_owned(),
            );
        }
        (Identity::Managed, None) => Who::Own { managed: true },
        (Identity::Workload, None) => Who::Own { managed: false },
        (Identity::Secret, Some(directory)) => Who::Secret {
            directory,
            place: secret_place(args)?,
        },
        (Identity::Workload, Some(directory)) => federated(args, directory, &tenant)?,
    };
    Ok(Plan {
        key,
        key_url: args.key.clone(),
        tenant,
        client,
        who,
    })
}

fn secret_place(args: &Args) -> Result<SecretPlace, String> {
    const HIDDEN: &str = "It is not repeated here, because it may be a secret";
    match &args.secret {
        Some(name) if is_dns_name(name) => Ok(SecretPlace::Lent(name.clone())),
        Some(_) => Err(format!(
            "--secret is not the NAME of a Secret of the tenant's namespace. {HIDDEN}"
        )),
        None if is_variable_name(&args.secret_variable) => {
            Ok(SecretPlace::Variable(args.secret_variable.clone()))
        }
        None => Err(format!(
            "--secret-variable is not the NAME of a variable. {HIDDEN}"
        )),
    }
}

fn federated(args: &Args, directory: String, tenant: &TenantId) -> Result<Who, String> {
    let (Some(service_account), Some(url)) = (&args.service_account, &args.issuer) else {
        return Err(
            "--identity workload with --tenant-id needs --service-account NS/NAME and --issuer \
             URL: az aks show --resource-group '<group>' --name '<cluster>' --query \
             oidcIssuerProfile.issuerUrl --output tsv"
                .to_owned(),
        );
    };
    let (namespace, name) = account(service_account)?;
    Ok(Who::Federated {
        directory,
        issuer: issuer(url)?,
        subject: format!("system:serviceaccount:{namespace}:{name}"),
        lent: (namespace == tenant.namespace).then_some(name),
    })
}

fn guid(option: &str, text: &str) -> Result<String, String> {
    if is_guid(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "{option} is not a GUID, as in aaaabbbb-cccc-dddd-eeee-ffff00001111"
        ))
    }
}

#[cfg(test)]
mod tests;
