//! The operator's own identity in Azure: workload identity or managed identity, chosen once at
//! start. There is never a fallback from one to the other.

use crate::policy::OwnAzure;

/// Where the metadata service is, when not at its fixed address: the SDKs' usual variable.
pub const IMDS_HOST_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

/// What the AKS webhook sets in a pod that may use workload identity.
const WEBHOOK: [&str; 3] = [
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
];

/// The choice made at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AzureIdentity {
    WorkloadIdentity,
    ManagedIdentity,
}

impl AzureIdentity {
    /// Decides by the configuration, or where that says `auto` by the presence of the webhook's
    /// variables. `set` says whether a variable of the environment is set.
    pub fn choose(wanted: OwnAzure, set: impl Fn(&str) -> bool) -> Self {
        match wanted {
            OwnAzure::WorkloadIdentity => Self::WorkloadIdentity,
            OwnAzure::Auto if WEBHOOK.iter().all(|name| set(name)) => Self::WorkloadIdentity,
            OwnAzure::ManagedIdentity | OwnAzure::Auto => Self::ManagedIdentity,
        }
    }

    /// [`Self::choose`] on this process' environment.
    pub fn from_environment(wanted: OwnAzure) -> Self {
        Self::choose(wanted, |name| {
            std::env::var_os(name).is_some_and(|value| !value.is_empty())
        })
    }

    /// The word in status, logs and the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WorkloadIdentity => "workloadIdentity",
            Self::ManagedIdentity => "managedIdentity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_follows_the_webhook_and_a_choice_is_a_choice() {
        let (all, some, none) = (
            |_: &str| true,
            |n: &str| n != "AZURE_CLIENT_ID",
            |_: &str| false,
        );
        let auto = OwnAzure::Auto;
        assert_eq!(
            AzureIdentity::choose(auto, all),
            AzureIdentity::WorkloadIdentity
        );
        assert_eq!(
            AzureIdentity::choose(auto, some),
            AzureIdentity::ManagedIdentity
        );
        assert_eq!(
            AzureIdentity::choose(auto, none),
            AzureIdentity::ManagedIdentity
        );
        assert_eq!(
            AzureIdentity::choose(OwnAzure::WorkloadIdentity, none),
            AzureIdentity::WorkloadIdentity
        );
        assert_eq!(
            AzureIdentity::choose(OwnAzure::ManagedIdentity, all),
            AzureIdentity::ManagedIdentity
        );
    }
}
