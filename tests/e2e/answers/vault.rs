//! What Key Vault answers about grants and keys, from its real states.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use fakecloud::{KeyOptions, Permission, Scope};

use super::{CLIENT, Customer, KEY, row, run, works};

fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Points the spec at a key made like this.
fn use_key(customer: &mut Customer, options: KeyOptions) {
    customer.vault.create_key_with("special", options);
    customer.key_ref = format!("https://{}/keys/special", customer.vault.host());
}

fn only(customer: &Customer, permissions: &[Permission]) {
    customer.vault.revoke(customer.app.principal());
    customer
        .vault
        .grant_only(customer.app.principal(), Scope::Vault, permissions);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_decide_access() {
    run(vec![
        row(
            "no role",
            ("Denial", "AccessDenied", "az role assignment create"),
            |c| {
                c.vault.revoke(c.app.principal());
            },
        )
        .code("ForbiddenByRbac")
        .sends("wrapkey", 1)
        .check(|_, report| {
            let message = report["message"].as_str().unwrap_or_default();
            ensure!(message.contains("--role 'Key Vault Crypto Service Encryption User'"));
            ensure!(
                message.contains(&format!("--assignee '{CLIENT}'")),
                "{message}"
            );
            ensure!(
                message.contains("'acme-kv'") && message.contains("'/keys/wrap'"),
                "{message}"
            );
            ensure!(report["requestId"].is_string(), "{report}");
            Ok(())
        }),
        row(
            "no access policy",
            (
                "Denial",
                "AccessDenied",
                "properties.enableRbacAuthorization",
            ),
            |c| {
                c.vault.use_access_policies(true);
                c.vault.revoke(c.app.principal());
            },
        )
        .code("ForbiddenByPolicy"),
        works("an access policy", |c| c.vault.use_access_policies(true)),
        works("a role on the key alone", |c| {
            c.vault.revoke(c.app.principal());
            c.vault.grant(c.app.principal(), Scope::Key("wrap"));
        }),
        row(
            "a role on another key alone",
            ("Denial", "AccessDenied", "az role assignment create"),
            |c| {
                c.vault.create_key("other");
                c.vault.revoke(c.app.principal());
                c.vault.grant(c.app.principal(), Scope::Key("other"));
            },
        ),
        row(
            "wrap alone granted",
            ("Denial", "AccessDenied", "refuses unwrapKey"),
            |c| {
                only(c, &[Permission::Get, Permission::Wrap]);
            },
        )
        .sends("unwrapkey", 1),
        row(
            "unwrap alone granted",
            ("Denial", "AccessDenied", "refuses wrapKey"),
            |c| {
                only(c, &[Permission::Get, Permission::Unwrap]);
            },
        )
        .sends("unwrapkey", 0),
        works("wrap and unwrap without get", |c| {
            only(c, &[Permission::Wrap, Permission::Unwrap]);
        }),
        row(
            "firewall",
            ("Transient", "Unreachable", "az keyvault network-rule add"),
            |c| {
                c.vault.firewall(true);
            },
        )
        .code("ForbiddenByFirewall"),
        row(
            "vault of another directory",
            ("Misconfigured", "CredentialRejected", "same directory"),
            |c| {
                let other = c.cloud.directory("99998888-7777-6666-5555-444433332222");
                c.cloud.vault("foreign-kv", &other).create_key("wrap");
                c.key_ref = "https://foreign-kv.vault.azure.net/keys/wrap".to_owned();
            },
        )
        .code("AKV10032"),
        row(
            "vault deleted",
            ("Transient", "Unreachable", "acme-kv.vault.azure.net"),
            |c| {
                c.vault.delete();
            },
        )
        .sends("token", 0),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_key_decides() {
    run(vec![
        row(
            "disabled",
            ("Denial", "KeyDisabled", "--enabled true"),
            |c| c.key.disable(),
        )
        .code("KeyDisabled"),
        row(
            "expired",
            ("Denial", "KeyExpired", "az keyvault key rotate"),
            |c| {
                c.key.set_expires(Some(now() - 60));
            },
        )
        .code("KeyExpired"),
        row(
            "not yet valid",
            ("Denial", "KeyUnusable", "--not-before"),
            |c| {
                c.key.set_not_before(Some(now() + 3600));
            },
        )
        .code("KeyNotYetValid"),
        row(
            "never made",
            ("Denial", "KeyNotFound", "az keyvault key recover"),
            |c| {
                c.key_ref = "https://acme-kv.vault.azure.net/keys/absent".to_owned();
            },
        )
        .code("KeyNotFound"),
        row(
            "soft-deleted",
            ("Denial", "KeyNotFound", "az keyvault key recover"),
            |c| c.key.delete(),
        ),
        row(
            "purged",
            ("Denial", "KeyNotFound", "az keyvault key recover"),
            |c| c.key.purge(),
        ),
        row(
            "made for encrypt and decrypt",
            ("Denial", "KeyUnusable", "--ops wrapKey unwrapKey"),
            |c| {
                c.key.set_ops(&["encrypt", "decrypt"]);
            },
        )
        .code("KeyOperationForbidden"),
        row(
            "wrap not permitted",
            ("Denial", "KeyUnusable", "does not permit wrapKey"),
            |c| {
                c.key.set_ops(&["unwrapKey"]);
            },
        ),
        row(
            "unwrap not permitted",
            ("Denial", "KeyUnusable", "does not permit unwrapKey"),
            |c| {
                c.key.set_ops(&["wrapKey"]);
            },
        ),
        row(
            "1024 bits",
            ("Misconfigured", "KeyUnusable", "--kty RSA --size 3072"),
            |c| {
                use_key(
                    c,
                    KeyOptions {
                        kty_bits: 1024,
                        ..KeyOptions::default()
                    },
                );
            },
        )
        .sends("unwrapkey", 0),
        row(
            "elliptic curve",
            ("Misconfigured", "KeyUnusable", "--kty RSA"),
            |c| {
                use_key(
                    c,
                    KeyOptions {
                        ec: true,
                        ..KeyOptions::default()
                    },
                );
            },
        ),
        works("4096 bits", |c| {
            use_key(
                c,
                KeyOptions {
                    kty_bits: 4096,
                    ..KeyOptions::default()
                },
            );
        }),
        works("another spelling of the same key", |c| {
            c.key_ref = "https://ACME-kv.vault.azure.net/keys/Wrap".to_owned();
        })
        .check(|_, report| {
            ensure!(report["keyId"] == KEY, "{report}");
            Ok(())
        }),
        works("a pinned version, after a rotation", |c| {
            c.key_ref = format!("{KEY}/{}", c.key.version());
            c.key.new_version();
        })
        .check(|customer, report| {
            let versions = customer.key.versions();
            ensure!(report["kekVersion"] == versions[0], "{report}");
            ensure!(report["keyId"] == KEY, "{report}");
            Ok(())
        }),
        works("the newest version, after a rotation", |c| {
            c.key.new_version();
        })
        .check(|customer, report| {
            ensure!(report["kekVersion"] == customer.key.version(), "{report}");
            Ok(())
        }),
        row(
            "a version that is disabled",
            ("Denial", "KeyDisabled", "--enabled true"),
            |c| {
                let version = c.key.version();
                c.key_ref = format!("{KEY}/{version}");
                c.key.new_version();
                c.key.disable_version(&version);
            },
        ),
        row(
            "a version that never was",
            ("Denial", "KeyNotFound", "not in this version"),
            |c| {
                c.key_ref = format!("{KEY}/{}", "0".repeat(32));
            },
        ),
    ])
    .await;
}
