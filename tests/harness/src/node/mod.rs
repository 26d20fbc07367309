//! A real node for pods: containerd, kubelet, scheduler and proxy in mount, process id and network
//! namespaces made for them, so that killing the first process there ends all of it. It must never
//! change anything of the machine that would outlive those namespaces.

mod cgroups;
mod cluster;
mod forward;
mod image;
mod inside;
mod isolated;
mod leftovers;
mod pods;

pub use cluster::Cluster;
pub use inside::{enter, is_inside, within_leash};
pub use isolated::{Isolated, check_requirements};
pub use pods::Pod;

/// The node's own address, in its own network.
pub const ADDRESS: &str = "192.168.77.2";
