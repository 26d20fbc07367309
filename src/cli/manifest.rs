//! Reads the one `TenantKms` of a manifest file. A manifest may hold a secret by mistake, so a
//! refusal names the place and never the value.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::api::TenantKmsSpec;
use crate::policy::without_values;
use crate::provider::TenantId;

const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Deserialize)]
struct Manifest {
    metadata: Metadata,
    spec: TenantKmsSpec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

/// Tenant and spec of the only `TenantKms` in `path` (`-`: standard input); other objects are
/// passed over.
pub fn read(path: &Path, namespace: &str) -> Result<(TenantId, TenantKmsSpec), String> {
    let at = path.display();
    let text = load(path).map_err(|error| format!("{at} cannot be read: {}", error.kind()))?;
    let mut found = None;
    for document in serde_yaml_ng::Deserializer::from_str(&text) {
        let value = Value::deserialize(document)
            .map_err(|error| format!("{at}: {}", without_values(&error)))?;
        if value.get("kind").and_then(Value::as_str) != Some("TenantKms") {
            continue;
        }
        let manifest: Manifest = serde_yaml_ng::from_value(value)
            .map_err(|error| format!("{at}: {}", without_values(&error)))?;
        if found.replace(manifest).is_some() {
            return Err(format!(
                "{at} has more than one TenantKms; verify them one by one"
            ));
        }
    }
    let manifest = found.ok_or_else(|| format!("{at} has no object of kind TenantKms"))?;
    let namespace = manifest.metadata.namespace.as_deref().unwrap_or(namespace);
    let tenant = TenantId::new(namespace, manifest.metadata.name);
    Ok((tenant, manifest.spec))
}

fn load(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?
            .take(MAX_BYTES)
            .read_to_string(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<(TenantId, TenantKmsSpec), String> {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), text).expect("write");
        read(file.path(), "fallback")
    }

    #[test]
    fn finds_the_one_tenant_among_other_objects() {
        let (tenant, spec) = read_text(
            "kind: Namespace\nmetadata: {name: x}\n---\nkind: TenantKms\nmetadata: {name: acme}\n\
             spec: {provider: azure, kmsKeyRef: k}\n",
        )
        .expect("found");
        assert_eq!(tenant.to_string(), "fallback/acme");
        assert_eq!(spec.kms_key_ref, "k");
    }

    #[test]
    fn a_refusal_repeats_nothing() {
        for text in [
            "",
            "kind: hunter2",
            "hunter2: [",
            "kind: TenantKms\nmetadata: {name: a}\nspec: {provider: hunter2, kmsKeyRef: k}",
            "kind: TenantKms\nmetadata: {name: a}\nspec: hunter2",
            "kind: TenantKms\nmetadata: {name: a}\nspec: {provider: azure, kmsKeyRef: [hunter2]}",
        ] {
            let problem = read_text(text).expect_err(text);
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
