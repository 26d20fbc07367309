//! One fake cloud: its listeners, its handles and its end. It runs on threads of its own, so a test that blocks its
//! runtime does not block the cloud; dropping it closes every listener and connection before it returns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::aws::Aws;
use crate::azure::directory::Directory;
use crate::azure::identities::Imds;
use crate::azure::imds::IMDS_HOST;
use crate::azure::vault::Vault;
use crate::calls::Call;
use crate::faults::{Fault, FaultId};
use crate::gcp::{Gcp, METADATA_HOST};
use crate::port::Listening;
use crate::tls::Authority;
use crate::world::{World, lock};
use crate::{control, proxy};

#[derive(Debug)]
pub struct FakeCloud {
    world: Arc<World>,
    /// `Some` until dropped.
    runtime: Option<Runtime>,
    proxy: String,
    control: String,
    ca: PathBuf,
    _folder: TempDir,
}

impl FakeCloud {
    /// Starts one on free ports of 127.0.0.1: the proxy, the metadata services and the control API.
    #[allow(
        clippy::unused_async,
        reason = "callers are async, and a later cloud may have to wait for something here"
    )]
    pub async fn start() -> anyhow::Result<Self> {
        let authority = Authority::generate()?;
        let folder = tempfile::Builder::new()
            .prefix("fakecloud-")
            .tempdir()
            .context("a folder for the CA")?;
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).context("writing the CA")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fakecloud")
            .enable_all()
            .build()
            .context("the cloud's runtime")?;
        let entered = runtime.enter();
        let world = Arc::new(World::new(
            authority,
            Listening::reserve(runtime.handle().clone(), IMDS_HOST)?,
            Listening::reserve(runtime.handle().clone(), METADATA_HOST)?,
        ));
        world.imds.start(&world)?;
        world.metadata.start(&world)?;
        let (proxy_listener, proxy) = listener()?;
        let (control_listener, control) = listener()?;
        runtime.spawn(proxy::run(world.clone(), proxy_listener));
        runtime.spawn(control::run(world.clone(), control_listener));
        // An RSA key for the first token, made while the test does something else.
        let signing = world.clone();
        std::thread::spawn(move || {
            signing.signer();
        });
        drop(entered);
        Ok(Self {
            world,
            runtime: Some(runtime),
            proxy,
            control,
            ca,
            _folder: folder,
        })
    }

    /// What a process needs in its environment to reach this cloud, and nothing but this cloud.
    pub fn env(&self) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            own("HTTPS_PROXY", &self.proxy),
            own("HTTP_PROXY", &self.proxy),
            own("NO_PROXY", "127.0.0.1,localhost,::1"),
            own("SSL_CERT_FILE", &self.ca.to_string_lossy()),
            own("AZURE_POD_IDENTITY_AUTHORITY_HOST", &self.imds_url()),
            own("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.imds_url()),
            own("GCE_METADATA_HOST", &self.gcp_metadata()),
        ]
    }

    pub fn proxy_url(&self) -> &str {
        &self.proxy
    }

    pub fn control_url(&self) -> &str {
        &self.control
    }

    /// `http://127.0.0.1:PORT`, the same before, during and after an absence.
    pub fn imds_url(&self) -> String {
        format!("http://{}", self.world.imds.address())
    }

    /// `127.0.0.1:PORT` of GCP's metadata server, likewise.
    pub fn gcp_metadata(&self) -> String {
        self.world.metadata.address().to_string()
    }

    pub fn gcp(&self) -> Gcp {
        Gcp::open(&self.world)
    }

    /// PEM of the CA that signs every host of this cloud.
    pub fn ca_file(&self) -> &Path {
        &self.ca
    }

    /// Believes assertions of `issuer` signed by a key of `jwks`; replaces what was believed before.
    pub fn trust_issuer(&self, issuer: &str, jwks: Value) {
        lock(&self.world.trusted).insert(issuer.to_owned(), jwks);
    }

    /// The directory (tenant) with this id, made if new.
    /// The same for tokens of [`Self::sign_token`].
    pub fn trust_own_signer(&self, issuer: &str) {
        self.trust_issuer(issuer, self.world.signer().jwks());
    }

    pub fn directory(&self, tenant: &str) -> Directory {
        Directory::open(&self.world, tenant)
    }

    pub fn imds(&self) -> Imds {
        Imds::open(&self.world)
    }

    /// The vault `https://NAME.vault.azure.net` of a directory, made if new: RBAC, nobody allowed, no keys.
    pub fn vault(&self, name: &str, directory: &Directory) -> Vault {
        Vault::open(&self.world, name, directory.tenant())
    }

    pub fn aws(&self) -> Aws {
        Aws::open(&self.world)
    }

    /// A token signed as this cloud signs its own, with these claims and no other: for tests of what a vault refuses.
    pub fn sign_token(&self, claims: &Value) -> String {
        self.world.sign_token(claims)
    }

    /// Arms a fault; of several that hit a request, the one armed last counts.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.world.faults.arm(fault)
    }

    pub fn clear_fault(&self, id: FaultId) {
        self.world.faults.clear(id);
    }

    pub fn clear_faults(&self) {
        self.world.faults.clear_all();
    }

    /// Every request since the start or the last reset, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.world.calls.all()
    }

    /// How many requests with this host and operation; `*` is any.
    pub fn count(&self, host: &str, operation: &str) -> usize {
        self.world.calls.count(host, operation)
    }

    pub fn reset_calls(&self) {
        self.world.calls.reset();
    }

    /// The first call that `filter` accepts, past ones included. A call is seen when it arrives (`status` 0) and
    /// again when it is answered.
    pub async fn wait_for_call(
        &self,
        filter: impl Fn(&Call) -> bool,
        within: Duration,
    ) -> anyhow::Result<Call> {
        self.world
            .calls
            .wait(filter, within)
            .await
            .with_context(|| format!("no such call within {within:?}"))
    }

    /// Every secret, token and assertion that this cloud was given, was shown or gave out.
    pub fn issued(&self) -> Vec<String> {
        self.world.calls.issued()
    }
}

impl Drop for FakeCloud {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // A runtime must not be waited for on a runtime's thread.
        let end = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(2)));
        let _ = end.join();
    }
}

fn listener() -> anyhow::Result<(TcpListener, String)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("a free loopback port")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((TcpListener::from_std(listener)?, url))
}
