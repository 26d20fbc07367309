//! The configuration file as it is written. It is refused whole when anything in it is not
//! understood, and a refusal names the place, never the value: a secret may have been pasted there.

use serde::Deserialize;
use thiserror::Error;

use super::Policy;
use super::grants::{KeyGrant, Limits, OwnAzure, VariableGrant};
use super::pattern::{KeyPattern, TenantPattern, is_dns_name};
use super::variable::is_variable_name;

pub const API_VERSION: &str = "config.tenantkms.dev/v1alpha1";
pub const KIND: &str = "OperatorConfig";

/// Why a file was refused: the place and what belongs there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    client_secret_variables: Vec<Variable>,
    #[serde(default)]
    operator_identity: OperatorIdentity,
    #[serde(default)]
    allowed_endpoint_suffixes: Vec<String>,
    #[serde(default)]
    limits: LimitsFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Variable {
    name: String,
    tenants: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct OperatorIdentity {
    azure: OwnAzure,
    allow: Vec<Allow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Allow {
    tenants: Vec<String>,
    keys: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[allow(clippy::struct_field_names, reason = "the file's own names")]
struct LimitsFile {
    vault_host_rps: Option<u32>,
    aws_account_region_rps: Option<u32>,
    gcp_project_rps: Option<u32>,
    identity_rps: Option<u32>,
    agent_tenant_rps: Option<u32>,
    agent_caller_rps: Option<u32>,
}

/// Reads a whole file. Either everything in it holds, or nothing.
pub fn parse(text: &str) -> Result<Policy, Invalid> {
    let file: File = serde_yaml_ng::from_str(text).map_err(|error| without_values(&error))?;
    if file.api_version != API_VERSION || file.kind != KIND {
        return Err(Invalid(format!(
            "apiVersion must be {API_VERSION} and kind must be {KIND}"
        )));
    }
    let mut variables = Vec::new();
    for (i, variable) in file.client_secret_variables.into_iter().enumerate() {
        let at = format!("clientSecretVariables[{i}]");
        if !is_variable_name(&variable.name) {
            return Err(Invalid(format!(
                "{at}.name must be the name of a variable: a letter or _, then letters, digits or \
                 _, at most 128; never the secret itself"
            )));
        }
        variables.push(VariableGrant {
            tenants: tenants(&at, &variable.tenants)?,
            name: variable.name,
        });
    }
    let mut keys = Vec::new();
    for (i, allow) in file.operator_identity.allow.iter().enumerate() {
        let at = format!("operatorIdentity.allow[{i}]");
        keys.push(KeyGrant {
            tenants: tenants(&at, &allow.tenants)?,
            keys: key_patterns(&at, &allow.keys)?,
        });
    }
    for (i, suffix) in file.allowed_endpoint_suffixes.iter().enumerate() {
        if !is_dns_name(suffix) || !suffix.contains('.') {
            return Err(Invalid(format!(
                "allowedEndpointSuffixes[{i}] must be a lower-case host name of two labels or \
                 more, without a leading dot, scheme or port"
            )));
        }
    }
    Ok(Policy {
        variables,
        keys,
        own_azure: file.operator_identity.azure,
        suffixes: file.allowed_endpoint_suffixes,
        limits: limits(&file.limits)?,
        unenforced: unenforced(&file.limits)?,
    })
}

fn tenants(at: &str, patterns: &[String]) -> Result<Vec<TenantPattern>, Invalid> {
    let parsed: Option<Vec<_>> = patterns.iter().map(|p| TenantPattern::parse(p)).collect();
    parsed.ok_or_else(|| {
        Invalid(format!(
            "{at}.tenants must hold NAMESPACE/NAME or NAMESPACE/* only"
        ))
    })
}

fn key_patterns(at: &str, patterns: &[String]) -> Result<Vec<KeyPattern>, Invalid> {
    let parsed: Option<Vec<_>> = patterns.iter().map(|p| KeyPattern::parse(p)).collect();
    parsed.ok_or_else(|| {
        Invalid(format!(
            "{at}.keys must hold https://HOST/keys/NAME, https://HOST/keys/*, https://HOST/*, \
             the whole ARN of a key or alias of AWS KMS, arn:aws:kms:REGION:ACCOUNT:key/*, \
             projects/P/locations/L/keyRings/R/cryptoKeys/K, the same with * for K, projects/P/*, \
             local://NAME or local://* only: no version, no other place for a *"
        ))
    })
}

fn limits(file: &LimitsFile) -> Result<Limits, Invalid> {
    let defaults = Limits::default();
    let of_tenant = limit("agentTenantRps", file.agent_tenant_rps)?;
    let of_caller = limit("agentCallerRps", file.agent_caller_rps)?;
    Ok(Limits {
        agent_tenant_rps: of_tenant.unwrap_or(defaults.agent_tenant_rps),
        agent_caller_rps: of_caller.unwrap_or(defaults.agent_caller_rps),
    })
}

/// Those of requests to the clouds, which the operator does not keep yet: nobody is to rely on them unknowing.
fn unenforced(file: &LimitsFile) -> Result<Vec<&'static str>, Invalid> {
    let mut given = Vec::new();
    for (name, value) in [
        ("vaultHostRps", file.vault_host_rps),
        ("awsAccountRegionRps", file.aws_account_region_rps),
        ("gcpProjectRps", file.gcp_project_rps),
        ("identityRps", file.identity_rps),
    ] {
        given.extend(limit(name, value)?.map(|_| name));
    }
    Ok(given)
}

fn limit(name: &str, given: Option<u32>) -> Result<Option<u32>, Invalid> {
    if given == Some(0) {
        return Err(Invalid(format!("limits.{name} must be at least 1")));
    }
    Ok(given)
}

/// Serde's words quote what stands in the file; only the part that comes from the types is kept.
pub(crate) fn without_values(error: &serde_yaml_ng::Error) -> Invalid {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let text = text.rsplit_once(": ").map_or(text, |(_, last)| last);
    let what = if let Some((_, expected)) = text.rsplit_once(", expected ") {
        format!("expected {expected}")
    } else if text.starts_with("missing field") || text.starts_with("duplicate field") {
        text.to_owned()
    } else {
        "not valid YAML of the expected form".to_owned()
    };
    match error.location() {
        Some(at) => Invalid(format!(
            "line {}, column {}: {what}",
            at.line(),
            at.column()
        )),
        None => Invalid(what),
    }
}
