//! Bounds on the derived schema: a length for every string, a count for every list, nothing
//! nullable, nothing defaulted in spec, no check that repeats a value.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};

/// Long enough that a pasted private key is still answered by the rule of its field (which says
/// what to write) and not by "too long".
const SPEC_TEXT: i64 = 4096;

/// Calls `visit` with the dotted path of every schema below and including `schema`; list items
/// are called `[]`.
pub(super) fn walk(
    path: &str,
    schema: &mut JSONSchemaProps,
    visit: &mut impl FnMut(&str, &mut JSONSchemaProps),
) {
    visit(path, schema);
    for (name, property) in schema.properties.iter_mut().flatten() {
        let below = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        walk(&below, property, visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        walk(&format!("{path}[]"), items, visit);
    }
}

pub(super) fn bound(root: &mut JSONSchemaProps) {
    declare_name(root);
    walk("", root, &mut |path, schema| {
        schema.nullable = None;
        if schema.enum_.take().is_some() {
            // The variants of a Rust enum; a rule on the parent checks them.
            schema.type_ = Some("string".into());
            schema.any_of = None;
            schema.one_of = None;
        }
        match schema.type_.as_deref() {
            Some("string") => schema.max_length = Some(max_length(path)),
            Some("array") => {
                schema.max_items = Some(max_items(path));
                // Not a `set`: the API server names the duplicate it finds.
                schema
                    .x_kubernetes_list_type
                    .get_or_insert_with(|| "atomic".into());
            }
            _ => {}
        }
    });
    if let Some(status) = super::at(root, "status") {
        // kstatus and Argo CD then see "not decided yet" on an object nobody has looked at.
        status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
    }
}

/// Known to the API server anyway; declared so that a rule can point at it.
fn declare_name(root: &mut JSONSchemaProps) {
    let typed = |name: &str| JSONSchemaProps {
        type_: Some(name.into()),
        ..JSONSchemaProps::default()
    };
    let metadata = JSONSchemaProps {
        properties: Some(BTreeMap::from([("name".into(), typed("string"))])),
        ..typed("object")
    };
    root.properties
        .get_or_insert_default()
        .insert("metadata".into(), metadata);
}

fn max_length(path: &str) -> i64 {
    match path {
        "metadata.name" => 253,
        "spec.aws.externalId" => 1224, // as in AWS's AssumeRole
        "status.phase" | "status.conditions[].status" => 16,
        "status.conditions[].message" => 32_768,
        "status.conditions[].reason" => 1024,
        "status.conditions[].type" => 316,
        "status.lastVerifyError.message" => 4096,
        "spec.masterKey.erasedIds[]"
        | "status.lastVerifyError.code"
        | "status.lastVerifyError.requestId" => 64,
        // An annotation's limit: what was asked can always be written down as done.
        _ if path.starts_with("status.handledRequests.") => 262_144,
        _ if path.starts_with("spec.") => SPEC_TEXT,
        _ => 512,
    }
}

fn max_items(path: &str) -> i64 {
    match path {
        "spec.masterKey.erasedIds" => 256,
        _ => 16,
    }
}
