//! The operator's configuration for customers: what their tenants name, and nothing else.

use serde_json::{Value, json};

use super::spec::VARIABLE;
use super::{Cloud, Customer};

/// Everything that these tenants need, each allowed by its own name.
pub(super) fn config<'a>(
    namespace: &str,
    customers: impl IntoIterator<Item = &'a Customer>,
) -> Value {
    let grants = customers
        .into_iter()
        .filter_map(|customer| customer.grant(namespace));
    let grants: Vec<Value> = grants.collect();
    json!({
        "apiVersion": "config.tenantkms.dev/v1alpha1",
        "kind": "OperatorConfig",
        "clientSecretVariables": [{ "name": VARIABLE, "tenants": [format!("{namespace}/*")] }],
        "operatorIdentity": { "allow": grants },
    })
}

impl Customer {
    /// What `operatorIdentity.allow` must say, where the operator's own identity is used.
    pub fn grant(&self, namespace: &str) -> Option<Value> {
        let block = &self.manifest["spec"][self.cloud.name()];
        let own = block["serviceAccountName"].is_null()
            && (self.cloud != Cloud::Azure || block["clientSecret"].is_null());
        own.then(
            || json!({ "tenants": [format!("{namespace}/{}", self.name)], "keys": [self.key()] }),
        )
    }
}

/// Adds to a configuration what another one says: lists are joined, and what both say is said once more.
pub fn merge(config: &mut Value, more: Value) {
    match (config, more) {
        (Value::Object(config), Value::Object(more)) => {
            for (name, value) in more {
                merge(config.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(config), Value::Array(more)) => config.extend(more),
        (config, more) => *config = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_configurations_become_one() {
        let mut one = json!({ "kind": "A", "operatorIdentity": { "azure": "auto", "allow": [1] } });
        merge(
            &mut one,
            json!({ "kind": "A", "operatorIdentity": { "allow": [2] }, "limits": {} }),
        );
        let both = json!({ "kind": "A", "operatorIdentity": { "azure": "auto", "allow": [1, 2] }, "limits": {} });
        assert_eq!(one, both);
    }
}
