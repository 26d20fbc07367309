//! The operator's own certificate authority. It lives in one Secret that every replica reads and any
//! may write; each replica issues its certificate in memory; the holder publishes what clients trust.

pub mod authority;
mod bundle;
pub(super) mod mint;
pub mod plan;
mod replica;
mod secret;

use jiff::Timestamp;
use tokio::sync::watch;

use super::Surroundings;
use super::pair::Pair;
pub use bundle::{CONFIG_MAP, DATA_KEY};
pub use replica::Replica;
pub use secret::SECRET;

/// Why the authority cannot be used, kept or told about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("somebody else wrote the agent's CA at the same time; it is read again")]
    Conflict,
    #[error(
        "Secret {namespace}/{SECRET} cannot be used: {why}. It is left as it is. To have a new CA made, \
         which clients trust once they have the new ConfigMap {CONFIG_MAP}: kubectl annotate namespace \
         '{namespace}' tenantkms.dev/break-glass='<reason>' && kubectl delete secret {SECRET} --namespace \
         '{namespace}' && kubectl annotate namespace '{namespace}' tenantkms.dev/break-glass-"
    )]
    Unusable {
        namespace: String,
        why: &'static str,
    },
    #[error(
        "the API server refused Secret {namespace}/{SECRET}: {answer}. Check the namespace and the \
         operator's Role in it: kubectl get namespace '{namespace}' && kubectl get role,rolebinding \
         --namespace '{namespace}'"
    )]
    Refused { namespace: String, answer: String },
    #[error(
        "the API server gave no usable answer about the agent's CA. It is tried again; check the API \
         server: kubectl get --raw '/readyz?verbose'"
    )]
    Silent,
    #[error("{}", .0.join("; "))]
    Unpublished(Vec<String>),
    #[error("a certificate could not be made: {0}")]
    Unmade(&'static str),
    #[error("the CA of the agent's certificate has expired at {0}, and no other could be made")]
    Expired(Timestamp),
}

type Receivers = (
    watch::Receiver<Option<Pair>>,
    watch::Receiver<Option<String>>,
);

/// Keeps the authority until every receiver is dropped.
pub fn follow(names: Vec<String>, namespaces: Vec<String>, around: Surroundings) -> Receivers {
    let (replica, held) = Replica::new(names, namespaces, around);
    let (faults, fault) = watch::channel(None);
    tokio::spawn(replica.run(faults));
    (held, fault)
}
