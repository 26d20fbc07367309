//! Many customers of one cloud, each with a key of its own, and their tenants.

use anyhow::Result;
use harness::{Cloud, Customer, Env, Identity};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::machine::progress;

/// Makes them, and lets the operator use what they gave it.
pub async fn onboard(env: &Env, cloud: Cloud, count: usize) -> Result<Vec<Customer>> {
    let customers = make(env, cloud, count).await?;
    env.configure(&customers);
    Ok(customers)
}

/// Makes them only.
pub async fn make(env: &Env, cloud: Cloud, count: usize) -> Result<Vec<Customer>> {
    let issuer = env.issuer().await?;
    let mut progress = progress(format!("making {count} keys"));
    let customer = |number: usize| {
        progress.at(number);
        let name = format!("{cloud}-{number:04}");
        Customer::new(env, cloud, &name, Identity::Given, &issuer)
    };
    (0..count).map(customer).collect()
}

pub fn api(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tenantkms.dev", "v1alpha1", "TenantKms");
    let resource = ApiResource::from_gvk_with_plural(&kind, "tenantkmses");
    Api::namespaced_with(client, namespace, &resource)
}

pub async fn apply(api: &Api<DynamicObject>, manifest: &Value) -> Result<()> {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    let parameters = PatchParams::apply("bench");
    api.patch(name, &parameters, &Patch::Apply(manifest))
        .await?;
    Ok(())
}
