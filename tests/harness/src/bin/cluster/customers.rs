//! A customer for every form of identity, made on the loopback Azure as docs/onboard-azure.md says,
//! and the operator's policy for all of them. The tenants are those of the examples.

use anyhow::{Result, ensure};
use fakecloud::{Scope, Vault};
use harness::node::Cluster;
use harness::{Customer, Env, example};
use serde_json::{Value, json};

/// A tenant, the example it is, and the words by which its status tells the identity it has.
#[derive(Clone, Copy, Debug)]
pub struct Tenant {
    pub name: &'static str,
    file: &'static str,
    identity: &'static str,
}

const fn tenant(name: &'static str, file: &'static str, identity: &'static str) -> Tenant {
    Tenant {
        name,
        file,
        identity,
    }
}

/// Birch names no identity, so it has the operator's.
pub const BIRCH: Tenant = birch("managed identity, system-assigned");
/// The same once the operator has another one.
pub const BIRCH_LATER: Tenant = birch("workload identity, ");

const fn birch(identity: &'static str) -> Tenant {
    tenant("birch", "azure-managed-identity/tenant.yaml", identity)
}

/// What works while the operator itself has a managed identity, and afterwards, too.
pub const FIRST: [Tenant; 5] = [
    tenant(
        "acme",
        "azure-client-secret/tenant.yaml",
        "client secret from AZURE_KC_CLIENT_SECRET",
    ),
    tenant(
        "maple",
        "azure-secret-ref/tenant.yaml",
        "client secret from Secret tenants/maple-azure",
    ),
    tenant(
        "rowan",
        "azure-service-account/tenant.yaml",
        "by a token of ServiceAccount tenants/rowan-kms",
    ),
    BIRCH,
    tenant(
        "cedar",
        "azure-managed-identity/tenant-user-assigned.yaml",
        "managed identity with client id",
    ),
];

/// What needs the pod's workload identity.
pub const LATER: [Tenant; 2] = [
    tenant(
        "elm",
        "azure-workload-identity/tenant.yaml",
        "workload identity, ",
    ),
    tenant(
        "oak",
        "azure-cross-directory/tenant.yaml",
        "by the operator's own token",
    ),
];

/// As the examples have them.
const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
const APPLICATION: &str = "11112222-3333-4444-5555-666677778888";
const CEDAR: [&str; 3] = [
    "22223333-4444-5555-6666-777788889999",
    "33334444-5555-6666-7777-888899990000",
    "/subscriptions/1/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/cedar",
];
const KEY: &str = "tenant-wrapping-key";
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// The operator's own application, in the directory of the cluster.
pub const OWN: &str = "99990000-aaaa-bbbb-cccc-ddddeeee0000";
/// Oak's directory: nobody else's, so that its token is exchanged across directories.
const OTHER: &str = "0a0b0c0d-1111-2222-3333-444455556666";

/// The chart's values for what two tenants lend.
pub const LENT: &str = r#"tenantCredentials=[{"namespace":"tenants","secrets":["maple-azure"],"serviceAccounts":["rowan-kms"]}]"#;

/// What only its customer can take away from Oak.
#[derive(Debug)]
pub struct Oak {
    vault: Vault,
    principal: String,
}

impl Oak {
    pub fn says_no(&self) {
        self.vault.revoke(&self.principal);
    }
}

/// Gives every customer its vault and says whom it trusts; the operator may use what it needs, with
/// a managed identity of its own.
pub async fn onboard(cluster: &Cluster) -> Result<Oak> {
    let cloud = &cluster.env.cloud;
    examples(&cluster.env).await?;
    let directory = cloud.directory(DIRECTORY);
    let [client, object, resource] = CEDAR;
    let machine = cloud.imds();
    let cedar = machine.user_assigned(&directory, client, object, resource);
    let vault = cloud.vault("cedar-kv", &directory);
    vault.create_key(KEY);
    vault.grant(&cedar, Scope::Vault);

    let (issuer, operator) = (cluster.env.issuer().await?, cluster.subject());
    let customers = directory.application(APPLICATION);
    let rowan = "system:serviceaccount:tenants:rowan-kms";
    customers.federate(&issuer, rowan, AUDIENCE);
    let own = directory.application(OWN);
    own.federate(&issuer, &operator, AUDIENCE);
    // Before the operator's identity changes, its customers have let in the new one.
    for name in ["acme-kv", "birch-kv"] {
        let vault = cloud.vault(name, &directory);
        vault.grant(own.principal(), Scope::Vault);
    }

    let other = cloud.directory(OTHER);
    let application = other.application(APPLICATION);
    application.federate(&issuer, &operator, AUDIENCE);
    let (vault, principal) = (cloud.vault("oak-kv", &other), application.principal());
    vault.create_key(KEY);
    vault.grant(&principal, Scope::Vault);

    lend(cluster).await?;
    allow(cluster, "managedIdentity")?;
    Ok(Oak { vault, principal })
}

/// Acme, which gave a client secret, and birch, which lets the machine's identity in.
pub async fn examples(env: &Env) -> Result<[Customer; 2]> {
    let issuer = env.issuer().await?;
    let of = |file| Customer::of(env, &example(file)?, &issuer);
    Ok([
        of("azure-client-secret/tenant.yaml")?,
        of("azure-managed-identity/tenant.yaml")?,
    ])
}

/// What maple and rowan have in their namespace. The right to use it is the chart's to give.
async fn lend(cluster: &Cluster) -> Result<()> {
    let secret = format!("maple-{:016x}", std::process::id());
    let directory = cluster.env.cloud.directory(DIRECTORY);
    directory.application(APPLICATION).add_secret(&secret);
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "maple-azure", "labels": { "tenantkms.dev/tenant": "maple" } },
            "stringData": { "client-secret": secret },
        }),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "rowan-kms", "labels": { "tenantkms.dev/tenant": "rowan" } },
            "automountServiceAccountToken": false,
        }),
    ];
    for object in objects {
        cluster.env.apply(&object.to_string()).await?.success()?;
    }
    Ok(())
}

/// Writes the policy for all tenants and the operator's own `identity`; the next installation or
/// upgrade has it.
pub fn allow(cluster: &Cluster, identity: &str) -> Result<()> {
    let grant = |tenant: &str, vault: &str, key: &str| {
        json!({
            "tenants": [format!("tenants/{tenant}")],
            "keys": [format!("https://{vault}.vault.azure.net/keys/{key}")],
        })
    };
    let config = json!({
        "apiVersion": "config.tenantkms.dev/v1alpha1",
        "kind": "OperatorConfig",
        "clientSecretVariables": [
            { "name": "AZURE_KC_CLIENT_SECRET", "tenants": ["tenants/acme"] },
        ],
        "operatorIdentity": {
            "azure": identity,
            "allow": [
                grant("birch", "birch-kv", "*"),
                grant("cedar", "cedar-kv", "*"),
                grant("elm", "acme-kv", "*"),
                grant("oak", "oak-kv", KEY),
            ],
        },
    });
    cluster.env.write_config(&serde_json::to_string(&config)?);
    Ok(())
}

impl Tenant {
    /// Applies the example, checked often; Oak's with a directory of its own.
    pub async fn apply(self, cluster: &Cluster) -> Result<()> {
        let mut object = example(self.file)?;
        ensure!(object["metadata"]["name"] == self.name, "{}", self.file);
        object["spec"]["verify"] = json!({ "interval": "5s", "proofTTL": "1m" });
        if self.name == "oak" {
            object["spec"]["kmsKeyRef"] =
                json!(format!("https://oak-kv.vault.azure.net/keys/{KEY}"));
            object["spec"]["azure"]["tenantId"] = json!(OTHER);
        }
        let applied = cluster.env.apply(&object.to_string()).await?;
        applied.success().map(drop)
    }

    /// Whether this state tells the identity that the tenant is meant to have.
    pub fn has_its_identity(self, object: &Value) -> bool {
        let told = object.pointer("/status/identity").and_then(Value::as_str);
        told.is_some_and(|told| told.contains(self.identity))
    }
}
