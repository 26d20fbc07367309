//! An object as it is kept in memory: what the operator reads of it and nothing else, as there are many
//! and all are kept. Read once, when the watch brings it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::DeserializeGuard;

use super::{erasure, installation, requests};
use crate::api::{TenantKms, TenantKmsSpec, TenantKmsStatus};
use crate::provider::TenantId;

/// Of an object that cannot be read only its metadata is: that is a status, not a crash.
pub type Guarded = Result<Object, Box<Meta>>;

#[derive(Clone, Debug)]
pub struct Object {
    pub meta: Meta,
    pub spec: TenantKmsSpec,
    pub status: Option<TenantKmsStatus>,
}

#[derive(Clone, Debug)]
pub struct Meta {
    pub id: TenantId,
    /// Shared with what else is kept of the object.
    pub uid: Arc<str>,
    pub resource_version: Arc<str>,
    pub generation: i64,
    pub deleted: Option<Timestamp>,
    pub finalizers: Box<[String]>,
    pub annotations: Annotations,
}

/// The annotations that somebody here reads.
#[derive(Clone, Debug, Default)]
pub struct Annotations(Box<[(&'static str, String)]>);

const READ: [&str; 5] = [
    installation::ANNOTATION,
    requests::VERIFY,
    requests::UNSEAL,
    requests::ROTATE,
    erasure::CONFIRM,
];

impl Annotations {
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What is read of the object of this tenant.
pub fn read(id: TenantId, object: DeserializeGuard<TenantKms>) -> Guarded {
    match object.0 {
        Ok(object) => Ok(Object::read(id, object)),
        Err(invalid) => Err(Box::new(Meta::read(id, invalid.metadata))),
    }
}

impl Object {
    pub fn read(id: TenantId, object: TenantKms) -> Self {
        Self {
            meta: Meta::read(id, object.metadata),
            spec: object.spec,
            status: object.status,
        }
    }
}

impl Meta {
    fn read(id: TenantId, object: ObjectMeta) -> Self {
        let mut annotations = object.annotations.unwrap_or_default();
        let annotations = READ.iter().filter_map(|name| {
            let value = annotations.remove(*name)?;
            Some((*name, value))
        });
        let annotations = Annotations(annotations.collect());
        let at = |time: Time| time.0;
        Self {
            id,
            uid: object.uid.unwrap_or_default().into(),
            resource_version: object.resource_version.unwrap_or_default().into(),
            generation: object.generation.unwrap_or_default(),
            deleted: object.deletion_timestamp.map(at),
            finalizers: object.finalizers.unwrap_or_default().into(),
            annotations,
        }
    }

    /// As an Event names it.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(TenantKms::api_version(&()).into_owned()),
            kind: Some(TenantKms::kind(&()).into_owned()),
            namespace: Some(self.id.namespace.clone()),
            name: Some(self.id.name.clone()),
            uid: Some(self.uid.to_string()),
            ..ObjectReference::default()
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    fn id() -> TenantId {
        TenantId::new("tenants", "acme")
    }

    /// The same object, as a watch brings it.
    pub fn watched(object: &TenantKms) -> Object {
        Object::read(id(), object.clone())
    }

    #[test]
    fn only_what_is_read_is_kept() {
        let mut object = TenantKms::new(
            "acme",
            TenantKmsSpec::new(crate::api::ProviderKind::Local, "local://k"),
        );
        let last = ("kubectl.kubernetes.io/last-applied-configuration", "{}");
        let all = READ.map(|name| (name, name)).into_iter().chain([last]);
        let all = all.map(|(name, value)| (name.to_owned(), value.to_owned()));
        object.metadata.annotations = Some(all.collect());
        let kept = watched(&object).meta.annotations;
        assert_eq!(kept.0.len(), READ.len());
        for name in READ {
            assert_eq!(kept.get(name), Some(name));
        }
        assert_eq!(kept.get(last.0), None);
    }

    #[test]
    fn an_object_that_cannot_be_read_has_its_metadata() {
        let object = json!({
            "metadata": {
                "name": "acme", "namespace": "tenants", "uid": "u", "resourceVersion": "7",
                "generation": 3, "annotations": { installation::ANNOTATION: "ours" },
            },
            "spec": { "provider": "unheard-of" },
        });
        let object = serde_json::from_value(object).expect("guarded");
        let meta = read(id(), object).expect_err("unreadable");
        assert_eq!((&*meta.uid, meta.generation), ("u", 3));
        assert_eq!(&*meta.resource_version, "7");
        assert_eq!(installation::owner(&meta), Some("ours"));
        let patch = super::super::status::patch(&meta, json!({ "phase": "Pending" }));
        assert_eq!(
            serde_json::to_value(patch).expect("JSON"),
            json!([
                { "op": "test", "path": "/metadata/uid", "value": "u" },
                { "op": "add", "path": "/status", "value": { "phase": "Pending" } },
            ])
        );
    }
}
