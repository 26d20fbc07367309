//! Managed identities: which one is asked for, what the metadata service answers, and that it is
//! never asked through a proxy.

use anyhow::ensure;
use fakecloud::{Effect, Fault, IMDS_HOST, Scope};
use serde_json::json;

use super::{Customer, row, run, works};

const USER_CLIENT: &str = "22223333-4444-5555-6666-777788889999";
const USER_OBJECT: &str = "33334444-5555-6666-7777-888899990000";
const USER_RESOURCE: &str = "/subscriptions/44445555-6666-7777-8888-999900001111/resourceGroups/nodes/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kms";

fn system(customer: &mut Customer) -> String {
    customer.with_own_identity();
    let principal = customer.cloud.imds().system_assigned(&customer.directory);
    customer.vault.grant(&principal, Scope::Vault);
    principal
}

/// A user-assigned identity beside a system-assigned one without any grant.
fn user(customer: &mut Customer, identity: &str) {
    customer.with_own_identity();
    customer.cloud.imds().system_assigned(&customer.directory);
    let imds = customer.cloud.imds();
    imds.user_assigned(&customer.directory, USER_CLIENT, USER_OBJECT, USER_RESOURCE);
    customer.vault.grant(USER_OBJECT, Scope::Vault);
    customer.spec = format!("  azure: {{ managedIdentity: {{ {identity} }} }}\n");
}

fn fault(customer: &mut Customer, effect: Effect) {
    system(customer);
    customer.cloud.fault(Fault::on(IMDS_HOST, effect));
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_identities() {
    const UNAVAILABLE: &str = "IdentityUnavailable";
    run(vec![
        works("system-assigned", |c| {
            system(c);
        })
        .sends("imds-token", 1)
        .sends("token", 0)
        .check(|_, report| {
            ensure!(
                report["identity"] == "managed identity, system-assigned",
                "{report}"
            );
            Ok(())
        }),
        works("system-assigned, written out", |c| {
            system(c);
            c.spec = "  azure: { managedIdentity: {} }\n".to_owned();
        }),
        works("not through the proxy, whatever NO_PROXY says", |c| {
            system(c);
            c.env.push(("NO_PROXY".to_owned(), String::new()));
        })
        .sends("imds-token", 1)
        .sends("plain-http", 0),
        works("user-assigned by client id", |c| {
            user(c, &format!("clientId: {USER_CLIENT}"));
        }),
        works("user-assigned by object id", |c| {
            user(c, &format!("objectId: {USER_OBJECT}"));
        }),
        works("user-assigned by resource id", |c| {
            user(c, &format!("resourceId: {USER_RESOURCE}"));
        }),
        row(
            "without a role",
            ("Denial", "AccessDenied", "az role assignment create"),
            |c| {
                let principal = system(c);
                c.vault.revoke(principal);
            },
        )
        .check(|customer, report| {
            // The object id of the token that was refused, so that the command runs as it stands.
            let calls = customer.cloud.calls();
            let caller = calls.iter().find_map(|call| call.principal.clone());
            let caller = format!("--assignee '{}'", caller.unwrap_or_default());
            ensure!(report["message"].to_string().contains(&caller), "{report}");
            Ok(())
        }),
        row(
            "absent",
            ("Transient", UNAVAILABLE, "metadata/instance"),
            |c| {
                system(c);
                c.cloud.imds().absent(true);
            },
        )
        .sends("wrapkey", 0),
        row(
            "no identity",
            ("Misconfigured", UNAVAILABLE, "--assign-identity"),
            |c| {
                system(c);
                c.cloud.imds().remove_identities();
            },
        )
        .code("invalid_request")
        .sends("imds-token", 1),
        row(
            "another user-assigned identity",
            ("Misconfigured", UNAVAILABLE, "az vmss identity assign"),
            |c| {
                user(c, &format!("clientId: {USER_OBJECT}"));
            },
        ),
        row(
            "hang",
            ("Transient", UNAVAILABLE, "no answer in time"),
            |c| fault(c, Effect::Hang),
        )
        .sends("imds-token", 1),
        row(
            "reset",
            ("Transient", UNAVAILABLE, "connection broke"),
            |c| fault(c, Effect::Reset),
        )
        .sends("imds-token", 1),
        row("429", ("Transient", "Throttled", "kubectl get pods"), |c| {
            fault(c, Effect::throttled(None));
        })
        .sends("imds-token", 1),
        row("500", ("Transient", UNAVAILABLE, "status 500"), |c| {
            fault(c, Effect::status(500));
        })
        .sends("imds-token", 1),
        row("a page", ("Transient", UNAVAILABLE, "status 403"), |c| {
            let (body, retry_after, headers) = ("<html>".to_owned(), None, Vec::new());
            fault(
                c,
                Effect::Status {
                    status: 403,
                    body,
                    retry_after,
                    headers,
                },
            );
        }),
        row("garbage", ("Transient", "ProviderError", "no token"), |c| {
            fault(c, Effect::Merge(json!({ "expires_on": "soon" })));
        }),
        row("10 MiB", ("Transient", UNAVAILABLE, "over 64 KiB"), |c| {
            fault(c, Effect::BigBody(10 * 1024 * 1024));
        }),
    ])
    .await;
}
