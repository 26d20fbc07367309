//! Who is in the story, in each cloud: the tenants of two examples, the keys that the one is moved to, and the
//! operator's configuration for all of them.

use std::fs;

use anyhow::{Context, Result};
use harness::{Cloud, Customer, Env, Identity, example, merge, repository};
use serde_json::{Value, json};

#[derive(Debug)]
pub struct Cast {
    /// The tenant of the story, by its first key.
    pub customer: Customer,
    /// Its customer's keys in the two other clouds, reached by a `ServiceAccount` of the tenant.
    pub abroad: [Customer; 2],
    /// Another key where the first one is.
    pub next: Customer,
    /// The tenant that nothing happens to.
    pub other: Customer,
    /// The examples' folders.
    pub folders: [&'static str; 2],
}

/// The examples of the story's tenant and of the other one.
const fn folders(cloud: Cloud) -> [&'static str; 2] {
    match cloud {
        Cloud::Azure => ["azure-client-secret", "azure-managed-identity"],
        Cloud::Aws => ["aws-role", "aws-service-account"],
        Cloud::Gcp => ["gcp-impersonation", "gcp-own-identity"],
    }
}

impl Cast {
    /// Gives every customer what its tenant names, and the operator the examples' configuration.
    pub async fn onboard(env: &Env, cloud: Cloud) -> Result<Self> {
        let (folders, issuer) = (folders(cloud), env.issuer().await?);
        let [manifest, other] = [
            example(&format!("{}/tenant.yaml", folders[0]))?,
            example(&format!("{}/tenant.yaml", folders[1]))?,
        ];
        let customer = Customer::of(env, &manifest, &issuer)?;
        let next = Customer::of(env, &next(&customer)?, &issuer)?;
        let abroad = cloud.others().map(|cloud| {
            Customer::new(
                env,
                cloud,
                &customer.name,
                Identity::ServiceAccount,
                &issuer,
            )
        });
        let [first, second] = abroad;
        let account = format!("{}-kms", customer.name);
        env.lend(&customer.name, &account).await?;

        let mut config = json!({});
        for folder in folders {
            let path = repository().join("examples").join(folder);
            let text = fs::read_to_string(path.join("operator-config.yaml"));
            let text = text.with_context(|| folder.to_owned())?;
            merge(&mut config, serde_yaml_ng::from_str(&text)?);
        }
        if let Some(grant) = next.grant(&env.namespace) {
            merge(
                &mut config,
                json!({ "operatorIdentity": { "allow": [grant] } }),
            );
        }
        env.write_config(&config.to_string());
        Ok(Self {
            other: Customer::of(env, &other, &issuer)?,
            customer,
            abroad: [first?, second?],
            next,
            folders,
        })
    }
}

/// The manifest with the same customer's next key.
fn next(customer: &Customer) -> Result<Value> {
    let mut manifest = customer.manifest();
    let mut key = customer.key().to_owned();
    if customer.cloud == Cloud::Aws {
        let last = key.pop().context("a key")?;
        key.push(if last == '1' { '2' } else { '1' });
    } else {
        key.push_str("-2");
    }
    manifest["spec"]["kmsKeyRef"] = json!(key);
    Ok(manifest)
}
