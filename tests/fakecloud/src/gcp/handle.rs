//! This cloud as its administrators change it: projects, the services they enabled, roles, and what the machine is.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::crypto::random;
use crate::gcp::iam::{Binding, permissions};
use crate::gcp::{CryptoKey, Project, Provider, ServiceAccount};
use crate::world::World;

/// The Google cloud.
#[derive(Debug, Clone)]
pub struct Gcp(Arc<World>);

impl Gcp {
    pub(crate) fn open(world: &Arc<World>) -> Self {
        Self(world.clone())
    }

    /// The project with this id, made if new, with every service enabled; returns its number.
    pub fn project(&self, id: &str) -> u64 {
        // Numbers have twelve digits.
        let number = 100_000_000_000 + u64::from(u32::from_be_bytes(random()));
        self.project_numbered(id, number)
    }

    /// The same with this number, if it is new.
    pub fn project_numbered(&self, id: &str, number: u64) -> u64 {
        let mut gcp = self.0.gcp();
        let project = gcp
            .projects
            .entry(id.to_owned())
            .or_insert_with(|| Project {
                number,
                disabled: BTreeSet::new(),
            });
        project.number
    }

    /// `service` is a host, for instance `cloudkms.googleapis.com`.
    pub fn disable_service(&self, project: &str, service: &str) {
        if let Some(project) = self.0.gcp().projects.get_mut(project) {
            project.disabled.insert(service.to_owned());
        }
    }

    pub fn enable_service(&self, project: &str, service: &str) {
        if let Some(project) = self.0.gcp().projects.get_mut(project) {
            project.disabled.remove(service);
        }
    }

    /// `NAME@PROJECT.iam.gserviceaccount.com`, made if new.
    pub fn service_account(&self, email: &str) -> ServiceAccount {
        ServiceAccount::open(&self.0, email)
    }

    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME`, made if new.
    pub fn provider(&self, name: &str, issuer: &str) -> Provider {
        Provider::open(&self.0, name, issuer)
    }

    /// `projects/P/locations/L/keyRings/R/cryptoKeys/K`, made with one version if new.
    pub fn create_key(&self, name: &str) -> CryptoKey {
        self.create_key_for(name, "ENCRYPT_DECRYPT")
    }

    /// The same for another purpose, for instance `ASYMMETRIC_SIGN`.
    pub fn create_key_for(&self, name: &str, purpose: &str) -> CryptoKey {
        CryptoKey::create(&self.0, name, purpose)
    }

    /// A key that exists (or may exist).
    pub fn key(&self, name: &str) -> CryptoKey {
        CryptoKey::named(&self.0, name)
    }

    /// Gives `member` a predefined role on a project, key ring, key or service account.
    pub fn grant(&self, resource: &str, member: &str, role: &str) -> anyhow::Result<()> {
        permissions(role).with_context(|| format!("no such role here: {role}"))?;
        let known = ["serviceAccount:", "principal://", "principalSet://"];
        if !known.iter().any(|prefix| member.starts_with(prefix)) {
            bail!("no such member: {member}");
        }
        let binding = Binding {
            resource: resource.to_owned(),
            member: member.to_owned(),
            role: role.to_owned(),
        };
        let mut gcp = self.0.gcp();
        if !gcp.bindings.contains(&binding) {
            gcp.bindings.push(binding);
        }
        Ok(())
    }

    /// Takes every role of a member on exactly this resource.
    pub fn revoke(&self, resource: &str, member: &str) {
        self.0
            .gcp()
            .bindings
            .retain(|binding| binding.resource != resource || binding.member != member);
    }

    /// The service account of the machine that the operator runs on; `None` is a machine without one.
    pub fn machine_account(&self, account: Option<&ServiceAccount>) {
        self.0.gcp().machine = account.map(|account| account.email().to_owned());
    }

    /// `true`: no metadata server listens, connections are refused. `false`: again, on the same port. Done when it
    /// returns.
    pub fn metadata_absent(&self, absent: bool) {
        if absent {
            self.0.metadata.stop();
        } else {
            self.0
                .metadata
                .start(&self.0)
                .expect("the port is still ours");
        }
    }
}
