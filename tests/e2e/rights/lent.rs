//! What a tenant lends, with the rights that the chart's value `tenantCredentials` gives for it and
//! no Role of anybody else's.

use anyhow::Result;
use harness::Env;

use crate::identities::{AUDIENCE, published_issuer};
use crate::support::{SECRET, VARIABLE, World};

/// What the operator takes of it: the rules' resources, one tenant for each.
pub const KINDS: [&str; 3] = ["secrets", "serviceaccounts", "serviceaccounts/token"];

/// The chart's value.
pub fn value(env: &Env) -> String {
    format!(
        r#"tenantCredentials=[{{"namespace":"{}","secrets":["acme-azure"],"serviceAccounts":["acme-kms"]}}]"#,
        env.namespace
    )
}

/// A Secret and a `ServiceAccount` that the tenant `acme` may use, once however often it is called.
pub async fn lend(world: &World) -> Result<()> {
    let env = &world.env;
    let both = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: acme-azure, labels: {{ \
         tenantkms.dev/tenant: acme }} }}\nstringData: {{ client-secret: {SECRET:?} }}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: acme-kms, labels: {{ \
         tenantkms.dev/tenant: acme }} }}\n"
    );
    env.apply(&both).await?.success()?;
    let issuer = published_issuer(env).await?;
    let subject = format!("system:serviceaccount:{}:acme-kms", env.namespace);
    world.app.federate(&issuer, &subject, AUDIENCE);
    Ok(())
}

/// The tenant `acme` by what this rule is for.
pub fn manifest(resource: &str) -> String {
    let proof = if resource == "secrets" {
        "clientSecret: { secretRef: { name: acme-azure, key: client-secret } }"
    } else {
        "serviceAccountName: acme-kms"
    };
    let variable = format!("clientSecret: {{ envVar: {VARIABLE} }}");
    crate::support::manifest("acme", "").replace(&variable, proof)
}
