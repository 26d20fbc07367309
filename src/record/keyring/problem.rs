//! What people are told when a keyring cannot be used or changed. Never repeats a blob.

use super::{KeyId, MOST_LIVE};
use crate::api::Reason;
use crate::provider::Failure;

/// The key service opened the stored bytes to something else, or not at all while the key works.
pub fn corrupt(id: &KeyId) -> Failure {
    Failure::transient(
        Reason::KeyringCorrupt,
        format!(
            "The stored master key {id} does not open to what it was: the record was changed, or \
             what stands between changes answers. It is not used. Check that nothing inspects TLS \
             on the way, then restore the record from a backup: `tenant-kms keyring import -f \
             BACKUP.json --replace-damaged`; see docs/backup.md."
        ),
    )
}

/// The key service changed its current version while several keys were wrapped.
pub fn moved() -> Failure {
    Failure::transient(
        Reason::ProviderError,
        "The customer's key got another version in the middle of a change of the keyring; nothing \
         was changed, and it is tried again by itself.",
    )
}

/// No room for one more version.
pub fn full() -> Failure {
    Failure::misconfigured(
        Reason::KeyringFull,
        format!(
            "The keyring has {MOST_LIVE} versions that can be unwrapped, so it is not rotated. \
             Re-encrypt old data, then add the ids of versions that nothing uses to \
             spec.masterKey.erasedIds: `kubectl get tkms '<name>' -o \
             jsonpath='{{.status.masterKeys}}'`."
        ),
    )
}

/// What is to be taken over is no master key under this key.
pub fn no_wrapped_key(why: &str) -> Failure {
    Failure::misconfigured(
        Reason::KeyUnusable,
        format!(
            "The value that spec.masterKey.importFrom names {why}, so nothing was taken over and \
             no master key was made. It has to be 32 bytes, wrapped by the key of spec.kmsKeyRef in \
             the version kekVersion with this algorithm: its bytes as they are, or in base64. Look \
             at how it was wrapped; to begin with a new key instead: `kubectl patch tkms '<name>' \
             --type merge --patch '{{\"spec\":{{\"masterKey\":{{\"importFrom\":null}}}}}}'`."
        ),
    )
}

/// The active version cannot be erased.
pub fn erase_active(id: &KeyId) -> Failure {
    Failure::misconfigured(
        Reason::NotAllowed,
        format!(
            "spec.masterKey.erasedIds has the active master key {id}, which is in use and is \
             kept. Rotate first, and it is erased some minutes later: `kubectl annotate tkms '<name>' \
             --overwrite tenantkms.dev/rotate-requested-at=\"$(date -Iseconds)\"`."
        ),
    )
}
