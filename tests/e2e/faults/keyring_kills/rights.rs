//! What the operator may write, taken away and given back: how a process is stopped just before or
//! just after a write, every time. Touches no rights but this world's.

use anyhow::{Result, ensure};
use harness::{Env, access};
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{Api, ListParams, PostParams};

/// Takes a verb on a resource away from the operator's Roles, or gives it back, and waits until that is
/// in force.
pub async fn may(env: &Env, resource: &str, verb: &str, may: bool) -> Result<()> {
    let mut changed = Vec::new();
    for namespace in [&env.records_namespace, &env.namespace] {
        let roles: Api<Role> = Api::namespaced(env.client().await?, namespace);
        for mut role in roles.list(&ListParams::default()).await?.items {
            for rule in role.rules.iter_mut().flatten() {
                if rule.resources.iter().flatten().any(|one| one == resource) {
                    let group = rule.api_groups.iter().flatten().next();
                    let group = group.map_or("", String::as_str);
                    changed.push(access(namespace, verb, group, resource));
                    rule.verbs.retain(|known| known != verb);
                    // A rule needs one; looking changes nothing.
                    let left = [verb, "get"][usize::from(!may)];
                    if may || rule.verbs.is_empty() {
                        rule.verbs.push(left.to_owned());
                    }
                }
            }
            let name = role.metadata.name.clone().unwrap_or_default();
            roles.replace(&name, &PostParams::default(), &role).await?;
        }
    }
    ensure!(!changed.is_empty(), "no Role speaks of {resource}");
    for access in changed {
        env.until_may(&env.operator_user(), access, may).await?;
    }
    Ok(())
}
