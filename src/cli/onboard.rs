//! `tenant-kms onboard`: the exact commands that a customer runs to let the platform use a key, and the
//! manifest that the platform applies. It calls nobody, and neither asks for nor prints a secret; every
//! value is checked before it is put into a command.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcp")]
mod gcp;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::credentials::quoted;
use crate::policy::pattern::is_dns_name;
use crate::provider::{Failure, TenantId};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// A key in Azure Key Vault or Managed HSM.
    #[cfg(feature = "azure")]
    Azure(azure::Args),
    /// A key in AWS KMS.
    #[cfg(feature = "aws")]
    Aws(aws::Args),
    /// A key in Google Cloud KMS.
    #[cfg(feature = "gcp")]
    Gcp(gcp::Args),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A shell script: the customer's part, then the platform's
    All,
    /// The customer's part alone
    Commands,
    /// The manifest alone
    Manifest,
}

/// Everything there is to print.
struct Script {
    /// What the customer runs.
    customer: String,
    /// What the platform does before it applies the manifest.
    first: String,
    manifest: String,
    tenant: TenantId,
    output: Output,
}

/// Exit code 2: an argument is wrong, and nothing was printed.
pub fn run(command: &Command) -> ExitCode {
    let script = match command {
        #[cfg(feature = "azure")]
        Command::Azure(args) => azure::script(args),
        #[cfg(feature = "aws")]
        Command::Aws(args) => aws::script(args),
        #[cfg(feature = "gcp")]
        Command::Gcp(args) => gcp::script(args),
    };
    match script {
        Ok(script) => {
            print!("{}", script.text());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}

impl Script {
    fn text(self) -> String {
        match self.output {
            Output::Commands => self.customer,
            Output::Manifest => self.manifest,
            Output::All => format!(
                "{}\n# The platform runs this.\n{}kubectl apply -f - <<'MANIFEST'\n{}MANIFEST\n\
                 kubectl wait tkms/{} --namespace {} --for=condition=Ready --timeout=120s\n",
                self.customer,
                self.first,
                self.manifest,
                quoted(&self.tenant.name),
                quoted(&self.tenant.namespace),
            ),
        }
    }
}

/// What the platform's policy has to say; `cloud` is a line of `operatorIdentity` besides.
fn granted(tenant: &TenantId, key: &str, cloud: Option<&str>) -> String {
    let cloud = cloud.map_or_else(String::new, |line| format!("#     {line}\n"));
    format!(
        "# In the configuration of the operator first, which is the value config of the chart:\n\
         #   operatorIdentity:\n{cloud}#     allow:\n#       - {{ tenants: [{tenant}], keys: \
         ['{key}'] }}\n"
    )
}

/// The right to use what the tenant's namespace lends.
fn right(tenant: &TenantId, entry: &str) -> String {
    format!(
        "# In the values of the chart first, the right to use what this namespace lends, one entry \
         for each namespace:\n#   tenantCredentials:\n#     - {{ namespace: {}, {entry} }}\n",
        tenant.namespace
    )
}

/// A `TenantKms`, and before it the `ServiceAccount` that is lent to it.
fn manifest(tenant: &TenantId, lent: Option<&str>, spec: &Value) -> Result<String, String> {
    let mut documents = Vec::new();
    if let Some(name) = lent {
        documents.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {
                "name": name, "namespace": tenant.namespace,
                "labels": { "tenantkms.dev/tenant": tenant.name },
            },
        }));
    }
    documents.push(json!({
        "apiVersion": "tenantkms.dev/v1alpha1", "kind": "TenantKms",
        "metadata": { "name": tenant.name, "namespace": tenant.namespace },
        "spec": spec,
    }));
    let documents: Result<Vec<_>, _> = documents.iter().map(serde_yaml_ng::to_string).collect();
    let documents = documents.map_err(|error| format!("no manifest: {error}"))?;
    Ok(documents.join("---\n"))
}

fn tenant(text: &str) -> Result<TenantId, String> {
    let tenant = TenantId::parse(text).filter(|tenant| tenant.name.len() <= 63);
    tenant.ok_or_else(|| "--tenant is written NAMESPACE/NAME, NAME at most 63".to_owned())
}

/// Namespace and name of a `ServiceAccount`.
fn account(text: &str) -> Result<(String, String), String> {
    let account = text.split_once('/').filter(|(namespace, name)| {
        is_dns_name(namespace) && !namespace.contains('.') && is_dns_name(name)
    });
    let (namespace, name) =
        account.ok_or("--service-account is written NAMESPACE/NAME, as in the cluster")?;
    Ok((namespace.to_owned(), name.to_owned()))
}

/// The name of the `ServiceAccount` that the tenant's own namespace lends, where one is to be used.
#[cfg(any(feature = "aws", feature = "gcp"))]
fn own_account(text: Option<&str>, tenant: &TenantId) -> Result<Option<String>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    let (namespace, name) = account(text)?;
    if namespace != tenant.namespace {
        return Err(format!(
            "--service-account is one of the tenant's own namespace, {}",
            tenant.namespace
        ));
    }
    Ok(Some(name))
}

/// Why `--key` names no key.
fn no_key(failure: &Failure) -> String {
    let message = failure.message.replace("spec.kmsKeyRef", "--key");
    format!("{}: {message}", failure.reason.name())
}

/// A cloud compares the issuer as it is written; Entra takes at most 600 characters
/// (learn.microsoft.com, "Workload identity federation").
fn issuer(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:".contains(&b);
    let sound = text.starts_with("https://")
        && text.len() <= 600
        && text.bytes().all(plain)
        && url::Url::parse(text).is_ok_and(|url| url.host_str().is_some());
    sound.then(|| text.to_owned()).ok_or_else(|| {
        "--issuer is not the address of an issuer: https, a host, no user, query or fragment. It \
         must be exactly what the tokens say, a last slash included: kubectl get --raw \
         /.well-known/openid-configuration"
            .to_owned()
    })
}
