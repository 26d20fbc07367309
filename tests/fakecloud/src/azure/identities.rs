//! The managed identities of "this machine": which are assigned, and which one a request means. Facts
//! only; the endpoint that hands out their tokens is `imds`.

use std::sync::Arc;

use crate::azure::directory::Directory;
use crate::crypto::uuid;
use crate::http::Asked;
use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct ImdsState {
    pub(crate) identities: Vec<Identity>,
}

#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) tenant: String,
    pub(crate) client: String,
    pub(crate) principal: String,
    /// `None` is the system-assigned identity.
    resource: Option<String>,
}

/// The identities of the machine that the operator runs on.
#[derive(Debug)]
pub struct Imds(Arc<World>);

impl Imds {
    pub(crate) fn open(world: &Arc<World>) -> Self {
        Self(world.clone())
    }

    /// Assigns a system identity of that directory; returns its object id.
    pub fn system_assigned(&self, directory: &Directory) -> String {
        let principal = uuid();
        let identity = Identity {
            tenant: directory.tenant().to_owned(),
            client: uuid(),
            principal: principal.clone(),
            resource: None,
        };
        let mut azure = self.0.azure();
        azure
            .imds
            .identities
            .retain(|known| known.resource.is_some());
        azure.imds.identities.push(identity);
        principal
    }

    /// Assigns a user identity; returns its object id.
    pub fn user_assigned(
        &self,
        directory: &Directory,
        client_id: &str,
        object_id: &str,
        resource_id: &str,
    ) -> String {
        let identity = Identity {
            tenant: directory.tenant().to_owned(),
            client: client_id.to_ascii_lowercase(),
            principal: object_id.to_ascii_lowercase(),
            resource: Some(resource_id.to_owned()),
        };
        self.0.azure().imds.identities.push(identity.clone());
        identity.principal
    }

    pub fn remove_identities(&self) {
        self.0.azure().imds.identities.clear();
    }

    /// `true`: nothing listens any more, connections are refused. `false`: listens again on the same port. Done when
    /// it returns.
    pub fn absent(&self, absent: bool) {
        if absent {
            self.0.imds.stop();
        } else {
            self.0.imds.start(&self.0).expect("the port is still ours");
        }
    }
}

/// The identity that a request means: by one of its three names, or the only one there can be meant.
pub(crate) fn choose(identities: &[Identity], asked: &Asked) -> Result<Identity, &'static str> {
    const NOT_FOUND: &str = "Identity not found";
    let named = |name: &str| asked.param(name).filter(|value| !value.is_empty());
    let found = if let Some(client) = named("client_id") {
        identities
            .iter()
            .find(|known| known.client.eq_ignore_ascii_case(&client))
    } else if let Some(object) = named("object_id").or_else(|| named("principal_id")) {
        identities
            .iter()
            .find(|known| known.principal.eq_ignore_ascii_case(&object))
    } else if let Some(resource) = named("msi_res_id").or_else(|| named("mi_res_id")) {
        identities.iter().find(|known| {
            known
                .resource
                .as_ref()
                .is_some_and(|id| id.eq_ignore_ascii_case(&resource))
        })
    } else if let Some(system) = identities.iter().find(|known| known.resource.is_none()) {
        Some(system)
    } else if identities.len() > 1 {
        return Err(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity \
                    in the token request",
        );
    } else {
        identities.first()
    };
    found.cloned().ok_or(NOT_FOUND)
}
