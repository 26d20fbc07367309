//! How a reconciliation ended, for metrics and logs.

use std::time::Duration;

use crate::controller::namespaces::NamespaceError;
use crate::random;
use crate::record::store::StoreError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing to say.
    Steady,
    /// The status was written.
    Reported,
    /// The tenant changed its state.
    Transition,
    /// Too many writes at once: this one waits for its turn.
    Deferred,
    /// The API server did not take or give something.
    ApiError,
    /// Another installation's object.
    Foreign,
    /// Another replica holds the shard.
    NotHeld,
    Deleting,
    Malformed,
}

impl Outcome {
    pub const ALL: [Self; 9] = [
        Self::Steady,
        Self::Reported,
        Self::Transition,
        Self::Deferred,
        Self::ApiError,
        Self::Foreign,
        Self::NotHeld,
        Self::Deleting,
        Self::Malformed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Reported => "reported",
            Self::Transition => "transition",
            Self::Deferred => "deferred",
            Self::ApiError => "api_error",
            Self::Foreign => "foreign",
            Self::NotHeld => "not_held",
            Self::Deleting => "deleting",
            Self::Malformed => "malformed",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("record: {}", detail(.0))]
    Record(#[from] StoreError),
    #[error("namespace: {0}")]
    Namespace(#[from] NamespaceError),
    #[error("status: {}", super::lease::describe(.0))]
    Status(Box<kube::Error>),
    #[error("the API server did not answer in time")]
    Deadline,
    /// Too many writes at once: this one may be made after so long.
    #[error("the write waits for its turn")]
    Turn(Duration),
    #[error("the lease is not ours now; the write waits")]
    NotHolder,
    #[error(transparent)]
    Random(#[from] random::Unavailable),
}

/// With the API server's reason, which is its own word and never a body.
fn detail(error: &StoreError) -> String {
    match error {
        StoreError::Api(api) => format!("{error}: {}", super::lease::describe(api)),
        _ => error.to_string(),
    }
}

impl ReconcileError {
    /// Whether rights are missing: a person has to act, and is told on the object.
    pub fn is_forbidden(&self) -> bool {
        let (Self::Record(StoreError::Api(api))
        | Self::Namespace(NamespaceError::Api(api))
        | Self::Status(api)) = self
        else {
            return false;
        };
        matches!(api.as_ref(), kube::Error::Api(status) if status.is_forbidden())
    }
}
