//! What must hold of the definition without asking an API server; `tests/e2e/admission.rs` asks
//! one.

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::CustomResourceExt;
use serde::Deserialize;

use super::*;

fn schema_of(crd: CustomResourceDefinition) -> JSONSchemaProps {
    let version = crd.spec.versions.into_iter().next().expect("one version");
    version
        .schema
        .and_then(|s| s.open_api_v3_schema)
        .expect("a schema")
}

fn each(mut root: JSONSchemaProps, mut visit: impl FnMut(&str, &JSONSchemaProps)) {
    schema::walk("", &mut root, &mut |path, schema| visit(path, schema));
}

#[test]
fn the_files_are_the_generated_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [
        "crds/tenantkmses.tenantkms.dev.yaml",
        "charts/tenant-kms-operator/files/crd.yaml",
    ] {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(
            text == yaml(),
            "{file} is not what src/api says: run `cargo xtask crd`"
        );
    }
}

#[test]
fn everything_is_bounded_and_described() {
    each(schema_of(crd()), |path, schema| {
        assert_ne!(
            schema.nullable,
            Some(true),
            "{path}: null would be one more way to say absent"
        );
        let scalar = schema.x_kubernetes_int_or_string == Some(true);
        match schema.type_.as_deref() {
            Some("string") => assert!(schema.max_length.is_some(), "{path}: no maxLength"),
            Some("array") => {
                assert!(schema.max_items.is_some(), "{path}: no maxItems");
                assert!(
                    schema.x_kubernetes_list_type.is_some(),
                    "{path}: no list type"
                );
            }
            None => assert!(scalar && schema.max_length.is_some(), "{path}: no type"),
            Some(_) => {}
        }
        let named = !path.is_empty() && !path.ends_with("[]");
        let ours = path.starts_with("spec") || path.starts_with("status");
        if named && ours {
            assert!(
                schema.description.is_some(),
                "{path}: kubectl explain would say nothing"
            );
        }
    });
}

/// The API server repeats the value for all of these.
#[test]
fn nothing_people_write_is_checked_in_a_way_that_repeats_it() {
    each(schema_of(crd()), |path, schema| {
        let rules = schema.x_kubernetes_validations.iter().flatten();
        for rule in rules {
            assert_eq!(
                schema.type_.as_deref(),
                Some("object"),
                "{path}: a rule on a scalar"
            );
            assert_eq!(
                rule.reason.as_deref(),
                Some("FieldValueForbidden"),
                "{path}"
            );
            let message = rule.message.as_deref().unwrap_or_default();
            assert!(
                !message.is_empty() && !message.contains(['"', '\\', '\n']),
                "{path}"
            );
        }
        if path.starts_with("spec") {
            assert_eq!(schema.enum_, None, "{path}");
            assert_eq!(schema.pattern, None, "{path}");
            assert_eq!(schema.format, None, "{path}");
            assert_eq!(schema.min_length, None, "{path}");
            assert_eq!(schema.any_of, None, "{path}");
            assert_ne!(
                schema.x_kubernetes_list_type.as_deref(),
                Some("set"),
                "{path}"
            );
            assert_eq!(schema.default, None, "{path}: GitOps would fight over it");
        }
    });
}

#[test]
fn refused_fields_are_never_parsed() {
    let mut derived = Vec::new();
    each(schema_of(TenantKms::crd()), |path, _| {
        derived.push(path.to_owned());
    });
    let mut declared = 0;
    each(schema_of(crd()), |path, schema| {
        if schema.x_kubernetes_int_or_string == Some(true) {
            assert!(
                !derived.iter().any(|known| known == path),
                "{path} is a field"
            );
            declared += 1;
        } else if !path.starts_with("metadata") {
            assert!(
                derived.iter().any(|known| known == path),
                "{path} is not a field"
            );
        }
    });
    assert!(
        declared >= 30,
        "only {declared} of the refused fields found their parent"
    );
}

#[test]
fn every_rule_found_its_place() {
    let mut rules = 0;
    each(schema_of(crd()), |_, schema| {
        rules += schema.x_kubernetes_validations.iter().flatten().count();
    });
    assert!(rules >= 80, "only {rules} rules were attached");
}

#[test]
fn the_examples_are_tenants() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut tenants = 0;
    let examples = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for file in examples
        .flat_map(|e| std::fs::read_dir(e.path()))
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let Ok(object) = serde_yaml_ng::Value::deserialize(document) else {
                continue;
            };
            if object.get("kind").and_then(|k| k.as_str()) == Some("TenantKms") {
                let tenant: TenantKms = serde_yaml_ng::from_value(object)
                    .unwrap_or_else(|e| panic!("{}: {e}", file.path().display()));
                assert!(tenant.spec.timing().interval.as_secs() >= 5);
                tenants += 1;
            }
        }
    }
    assert!(tenants > 0, "no example was read");
}
