//! May this caller do this here? Firewall first, then the vault's permission model: RBAC on vault or key, or access
//! policies on the vault alone. Decides from the vault's facts only; knows nothing of keys' states.

use crate::azure::keyvault_errors::{self as errors, Refusal};
use crate::azure::token::Caller;
use crate::azure::vault::{Permission, VaultState};

/// Refuses a caller without the permission. `key` is the name in the request.
pub(crate) fn check(
    vault: &VaultState,
    name: &str,
    caller: &Caller,
    permission: Permission,
    key: &str,
) -> Result<(), Refusal> {
    if vault.firewall {
        return Err(errors::by_firewall(caller, name));
    }
    let granted = vault.grants.iter().any(|grant| {
        let here = match grant.key.as_deref() {
            None => true,
            Some(scope) => !vault.policies && scope.eq_ignore_ascii_case(key),
        };
        here && grant.principal.eq_ignore_ascii_case(&caller.principal)
            && grant.permissions.contains(&permission)
    });
    if granted {
        return Ok(());
    }
    if vault.policies {
        let permission = match permission {
            Permission::Get => "get",
            Permission::Wrap => "wrapKey",
            Permission::Unwrap => "unwrapKey",
        };
        return Err(errors::by_policy(caller, permission, name));
    }
    let action = match permission {
        Permission::Get => "Microsoft.KeyVault/vaults/keys/read",
        Permission::Wrap => "Microsoft.KeyVault/vaults/keys/wrap/action",
        Permission::Unwrap => "Microsoft.KeyVault/vaults/keys/unwrap/action",
    };
    let resource = format!(
        "/subscriptions/{}/resourcegroups/fakecloud/providers/microsoft.keyvault/vaults/{name}/keys/{key}",
        vault.subscription
    );
    Err(errors::by_rbac(caller, action, &resource, name))
}
