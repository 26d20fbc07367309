//! What mends it in Azure.

use crate::api::Reason;

pub const fn command(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::AccessDenied => {
            "az role assignment create --role 'Key Vault Crypto Service Encryption User' \
             --assignee '<client id>' --scope '<resource id of the vault>/keys/<key>'"
        }
        Reason::KeyDisabled => {
            "az keyvault key set-attributes --vault-name '<vault>' --name '<key>' --enabled true"
        }
        Reason::KeyNotFound => "az keyvault key recover --vault-name '<vault>' --name '<key>'",
        Reason::KeyExpired | Reason::KeyExpiring => {
            "az keyvault key rotate --vault-name '<vault>' --name '<key>'"
        }
        Reason::KeyUnusable => {
            "az keyvault key set-attributes --vault-name '<vault>' --name '<key>' --ops wrapKey \
             unwrapKey"
        }
        Reason::InvalidKeyRef => {
            "az keyvault key show --vault-name '<vault>' --name '<key>' --query key.kid --output \
             tsv"
        }
        Reason::CredentialNotFound => "kubectl explain tenantkms.spec.azure",
        Reason::CredentialRejected | Reason::CredentialExpiring => {
            "az ad app credential reset --append --id '<client id>'"
        }
        Reason::IdentityUnavailable => {
            "az vmss identity show --resource-group '<node resource group>' --name '<scale set>'"
        }
        Reason::Unreachable => "curl --verbose 'https://<vault>.vault.azure.net/healthstatus'",
        Reason::Throttled => {
            "az monitor metrics list --metric ServiceApiResult --resource '<resource id of the \
             vault>'"
        }
        Reason::PurgeProtectionOff => {
            "az keyvault update --name '<vault>' --enable-purge-protection true"
        }
        _ => return None,
    })
}
