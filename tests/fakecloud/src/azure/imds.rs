//! The instance metadata service's token endpoint, on a plain HTTP port of its own as in a virtual machine. It knows
//! the identities assigned to "this machine" and nothing else; absent means that nothing listens on its port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use http::Method;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::azure::directory::Directory;
use crate::azure::token::{Subject, issue, now};
use crate::azure::{Service, VAULT_RESOURCE};
use crate::crypto::uuid;
use crate::http::{Answer, Asked};
use crate::pipeline::{self, Seen};
use crate::socket::Socket;
use crate::world::{World, lock};

/// Under this name IMDS appears in calls and faults.
pub const IMDS_HOST: &str = "169.254.169.254";
/// Managed identity tokens are valid for a day.
const LIFETIME: Duration = Duration::from_secs(86_399);
const API_VERSIONS: [&str; 5] = [
    "2018-02-01",
    "2019-08-01",
    "2020-06-01",
    "2021-02-01",
    "2023-11-15",
];

#[derive(Debug, Default)]
pub(crate) struct ImdsState {
    identities: Vec<Identity>,
}

#[derive(Debug, Clone)]
struct Identity {
    tenant: String,
    client: String,
    principal: String,
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

/// The port of IMDS, kept reserved while nothing listens on it.
#[derive(Debug)]
pub(crate) struct Listening {
    runtime: Handle,
    address: SocketAddr,
    port: Mutex<Port>,
}

#[derive(Debug)]
enum Port {
    /// Bound, not listening: the kernel refuses connections and gives the port to nobody else.
    Reserved(TcpSocket),
    Open(JoinHandle<()>),
    Moving,
}

impl Listening {
    pub(crate) fn reserve(runtime: Handle) -> anyhow::Result<Self> {
        let socket = reserve(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        Ok(Self {
            runtime,
            address,
            port: Mutex::new(Port::Reserved(socket)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn start(&self, world: &Arc<World>) -> anyhow::Result<()> {
        let mut port = lock(&self.port);
        let entered = self.runtime.enter();
        *port = match std::mem::replace(&mut *port, Port::Moving) {
            Port::Reserved(socket) => {
                let listener = socket.listen(1024).context("listening for IMDS")?;
                Port::Open(self.runtime.spawn(run(Arc::downgrade(world), listener)))
            }
            other => other,
        };
        drop(entered);
        Ok(())
    }

    fn stop(&self) {
        let mut port = lock(&self.port);
        let entered = self.runtime.enter();
        *port = match std::mem::replace(&mut *port, Port::Moving) {
            Port::Open(task) => {
                task.abort();
                // The listener closes when the runtime drops the task, a moment after the abort.
                while !task.is_finished() {
                    std::thread::yield_now();
                }
                Port::Reserved(reserve(self.address).expect("a port that was ours a moment ago"))
            }
            other => other,
        };
        drop(entered);
    }
}

fn reserve(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).context("a loopback port for IMDS")?;
    Ok(socket)
}

async fn run(world: std::sync::Weak<World>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let Some(world) = world.upgrade() else { return };
        let socket = Socket::new(stream);
        let reset = socket.reset();
        connections.spawn(pipeline::serve(world, IMDS_HOST.to_owned(), socket, reset));
    }
}

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    if asked.path != "/metadata/identity/oauth2/token" {
        return (
            Seen::operation("other"),
            Box::new(|_, _| Answer::json(404, &json!({ "error": "Not found" }))),
        );
    }
    let chosen = choose(&world.azure().imds.identities, asked);
    let seen = Seen {
        operation: "imds-token".to_owned(),
        principal: chosen
            .as_ref()
            .ok()
            .map(|identity| identity.principal.clone()),
        tenant: chosen.as_ref().ok().map(|identity| identity.tenant.clone()),
        app: chosen.as_ref().ok().map(|identity| identity.client.clone()),
    };
    (
        seen,
        Box::new(move |world, asked| token(world, asked, chosen)),
    )
}

fn token(world: &World, asked: &Asked, chosen: Result<Identity, &'static str>) -> Answer {
    if asked.method != Method::GET {
        return refusal(
            405,
            "invalid_request",
            "The requested method is not allowed",
        );
    }
    if !asked
        .header("metadata")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return refusal(
            400,
            "invalid_request",
            "Required metadata header not specified",
        );
    }
    // A forwarded request may come from outside the machine.
    if asked.headers.contains_key("x-forwarded-for") {
        return refusal(
            400,
            "invalid_request",
            "Request contains the X-Forwarded-For header",
        );
    }
    match asked.param("api-version") {
        None => {
            return refusal(
                400,
                "invalid_request",
                "Required query variable 'api-version' is missing",
            );
        }
        Some(version) if !API_VERSIONS.contains(&version.as_str()) => {
            return refusal(
                400,
                "invalid_request",
                "The requested api-version is not supported",
            );
        }
        Some(_) => {}
    }
    let resource = match asked.param("resource") {
        None => {
            return refusal(
                400,
                "invalid_request",
                "Required audience parameter not specified",
            );
        }
        Some(resource) if resource.trim_end_matches('/') != VAULT_RESOURCE => {
            let text = "AADSTS500011: The resource principal named in the request was not found in the tenant.";
            return refusal(400, "invalid_resource", text);
        }
        Some(resource) => resource,
    };
    let identity = match chosen {
        Ok(identity) => identity,
        Err(text) => return refusal(400, "invalid_request", text),
    };
    let subject = Subject {
        tenant: identity.tenant,
        app: identity.client.clone(),
        principal: identity.principal,
        class: "2",
    };
    let token = issue(world, &subject, &resource, LIFETIME);
    Answer::json(
        200,
        &json!({
            "access_token": token,
            "client_id": identity.client,
            "expires_in": LIFETIME.as_secs().to_string(),
            "expires_on": (now() + LIFETIME.as_secs()).to_string(),
            "ext_expires_in": LIFETIME.as_secs().to_string(),
            "not_before": now().to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
    .with("server", "IMDS/150.870.65.1852")
}

/// The identity that a request means: by one of its three names, or the only one there can be meant.
fn choose(identities: &[Identity], asked: &Asked) -> Result<Identity, &'static str> {
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

fn refusal(status: u16, error: &str, text: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "error": error, "error_description": text }),
    )
    .with("server", "IMDS/150.870.65.1852")
}
