//! The closed set of reasons. Every condition, event and metric names one of these; the table in
//! docs/troubleshooting.md is generated from here.

use serde::{Deserialize, Serialize};

/// Why a tenant is in the state it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    Verified,
    /// A proof is under way and nothing is known yet.
    Verifying,
    AccessDenied,
    KeyDisabled,
    KeyNotFound,
    KeyExpired,
    KeyUnusable,
    InvalidKeyRef,
    CredentialNotFound,
    CredentialRejected,
    SecretNotFound,
    EnvVarNotFound,
    NotAllowed,
    IdentityUnavailable,
    EndpointNotAllowed,
    KeyRefConflict,
    Unreachable,
    Throttled,
    ProviderError,
    KeyringMissing,
    KeyringCorrupt,
    KeyringForeign,
    KeyringTooNew,
    /// As many live master keys as may be.
    KeyringFull,
    /// The object is being deleted, and its keys with it.
    Erasing,
    ProviderNotBuilt,
    Suspended,
    /// Of `KeyAtRisk`: the key's end is near.
    KeyExpiring,
    /// Of `KeyAtRisk`: the client secret's end is near.
    CredentialExpiring,
    /// Of `KeyAtRisk`: a deleted key could be purged at once.
    PurgeProtectionOff,
}

impl Reason {
    pub const ALL: [Self; 30] = [
        Self::Verified,
        Self::Verifying,
        Self::AccessDenied,
        Self::KeyDisabled,
        Self::KeyNotFound,
        Self::KeyExpired,
        Self::KeyUnusable,
        Self::InvalidKeyRef,
        Self::CredentialNotFound,
        Self::CredentialRejected,
        Self::SecretNotFound,
        Self::EnvVarNotFound,
        Self::NotAllowed,
        Self::IdentityUnavailable,
        Self::EndpointNotAllowed,
        Self::KeyRefConflict,
        Self::Unreachable,
        Self::Throttled,
        Self::ProviderError,
        Self::KeyringMissing,
        Self::KeyringCorrupt,
        Self::KeyringForeign,
        Self::KeyringTooNew,
        Self::KeyringFull,
        Self::Erasing,
        Self::ProviderNotBuilt,
        Self::Suspended,
        Self::KeyExpiring,
        Self::CredentialExpiring,
        Self::PurgeProtectionOff,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The word in conditions, events and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Verifying => "Verifying",
            Self::AccessDenied => "AccessDenied",
            Self::KeyDisabled => "KeyDisabled",
            Self::KeyNotFound => "KeyNotFound",
            Self::KeyExpired => "KeyExpired",
            Self::KeyUnusable => "KeyUnusable",
            Self::InvalidKeyRef => "InvalidKeyRef",
            Self::CredentialNotFound => "CredentialNotFound",
            Self::CredentialRejected => "CredentialRejected",
            Self::SecretNotFound => "SecretNotFound",
            Self::EnvVarNotFound => "EnvVarNotFound",
            Self::NotAllowed => "NotAllowed",
            Self::IdentityUnavailable => "IdentityUnavailable",
            Self::EndpointNotAllowed => "EndpointNotAllowed",
            Self::KeyRefConflict => "KeyRefConflict",
            Self::Unreachable => "Unreachable",
            Self::Throttled => "Throttled",
            Self::ProviderError => "ProviderError",
            Self::KeyringMissing => "KeyringMissing",
            Self::KeyringCorrupt => "KeyringCorrupt",
            Self::KeyringForeign => "KeyringForeign",
            Self::KeyringTooNew => "KeyringTooNew",
            Self::KeyringFull => "KeyringFull",
            Self::Erasing => "Erasing",
            Self::ProviderNotBuilt => "ProviderNotBuilt",
            Self::Suspended => "Suspended",
            Self::KeyExpiring => "KeyExpiring",
            Self::CredentialExpiring => "CredentialExpiring",
            Self::PurgeProtectionOff => "PurgeProtectionOff",
        }
    }
}
