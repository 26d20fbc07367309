//! Why a tenant's keys are not given out, for the one who asked.

use crate::api::Reason;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No such object here.
    NotFound,
    /// The customer, or the platform's policy, said no; or nobody could tell for too long.
    Sealed(Option<Reason>),
    Suspended,
    /// Never proved yet.
    Pending(Option<Reason>),
    /// No fresh proof at the moment.
    Unproved(Option<Reason>),
    /// The operator has not seen all objects yet.
    Starting,
    /// The keyring never had this version.
    UnknownKey,
    /// The version was destroyed on purpose.
    ErasedKey,
    /// Too many ask for versions that nobody knows.
    Busy,
}
