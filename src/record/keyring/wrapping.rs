//! What needs the key service: making, opening and re-wrapping master keys. Nothing leaves here for
//! a record that was not opened again and compared first.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;

use super::problem;
use super::{Kek, KeyId, Keyring, Locked, MasterKey, Rewrapped};
use crate::api::{ProviderKind, Reason};
use crate::provider::{Failure, Kms, Wrapped, probe};
use crate::random;

/// Calls on one key at once while a keyring is re-wrapped.
const AT_ONCE: usize = 4;

/// A master key in the clear, which one it is, and the stored bytes and the key that it was opened
/// from: a proof of others does not speak for it.
#[derive(Debug)]
pub struct Opened {
    pub id: KeyId,
    pub key: MasterKey,
    pub key_id: String,
    pub wrapped: Wrapped,
}

impl Opened {
    /// Whether this is the active key of `keyring`, opened from what stands there.
    pub fn is_active_of(&self, keyring: &Keyring) -> bool {
        let locked = keyring.active().and_then(|one| keyring.locked(one));
        self.key_id == keyring.kek.key_id
            && locked.is_some_and(|one| one.id == self.id && one.wrapped == self.wrapped)
    }
}

fn unavailable(_: random::Unavailable) -> Failure {
    Failure::transient(
        Reason::ProviderError,
        "the machine gave no random bytes; look at the node: kubectl describe node '<node>'",
    )
}

/// A new master key, wrapped and opened again.
pub async fn mint(kms: &dyn Kms, tenant_uid: &str) -> Result<(Locked, Opened), Failure> {
    let key = MasterKey::random().map_err(unavailable)?;
    lock(kms, tenant_uid, key).await
}

/// Gives a master key a new id, wraps it and opens it again.
pub(super) async fn lock(
    kms: &dyn Kms,
    tenant_uid: &str,
    key: MasterKey,
) -> Result<(Locked, Opened), Failure> {
    let id = KeyId::random().map_err(unavailable)?;
    let commitment = key.commitment(tenant_uid, &id);
    let wrapped = kms.wrap(tenant_uid, key.bytes()).await?;
    let locked = Locked {
        id,
        commitment,
        wrapped,
    };
    let opened = open(kms, tenant_uid, &locked).await?;
    Ok((locked, opened))
}

/// Opens a stored version.
pub async fn open(kms: &dyn Kms, tenant_uid: &str, locked: &Locked) -> Result<Opened, Failure> {
    let bytes = match kms.unwrap(tenant_uid, &locked.wrapped).await {
        Ok(bytes) => bytes,
        // Not these bytes: is it the key, or is it the bytes?
        Err(failure) if failure.bytes_refused => {
            return Err(match probe(kms, tenant_uid).await {
                Ok(_) => problem::corrupt(&locked.id),
                Err(_) => failure,
            });
        }
        Err(failure) => return Err(failure),
    };
    let key = MasterKey::from_bytes(bytes)
        .filter(|key| key.fits(tenant_uid, &locked.id, &locked.commitment))
        .ok_or_else(|| problem::corrupt(&locked.id))?;
    Ok(Opened {
        id: locked.id.clone(),
        key,
        key_id: kms.key_id().to_owned(),
        wrapped: locked.wrapped.clone(),
    })
}

/// Opens every live version with `old` and wraps it with `new`, which may be the same; each is
/// opened again before it counts. Gives the active one as `new` opened it.
pub async fn rewrap(
    old: &dyn Kms,
    new: &dyn Kms,
    provider: ProviderKind,
    tenant_uid: &str,
    keyring: &Keyring,
) -> Result<(Rewrapped, Option<Opened>), Failure> {
    let active = keyring.active().map(|one| &one.id);
    let locked = keyring.live().filter_map(|version| keyring.locked(version));
    let mut all: Vec<(KeyId, Wrapped, Option<Opened>)> = stream::iter(locked.collect::<Vec<_>>())
        .map(async |locked| {
            let Opened { id, key, .. } = open(old, tenant_uid, &locked).await?;
            let wrapped = new.wrap(tenant_uid, key.bytes()).await?;
            let again = Locked { wrapped, ..locked };
            let opened = open(new, tenant_uid, &again).await?;
            let opened = (active == Some(&id)).then_some(opened);
            Ok::<_, Failure>((id, again.wrapped, opened))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut versions = all.iter().map(|(_, wrapped, _)| &wrapped.kek_version);
    let version = versions.next().unwrap_or(&keyring.kek.version).clone();
    if !versions.all(|other| *other == version) {
        return Err(problem::moved());
    }
    let opened = all.iter_mut().find_map(|(.., opened)| opened.take());
    let rewrapped = Rewrapped {
        kek: Kek {
            provider,
            key_id: new.key_id().to_owned(),
            version,
        },
        wrapped: all
            .into_iter()
            .map(|(id, wrapped, _)| (id, ByteString(wrapped.ciphertext)))
            .collect(),
    };
    Ok((rewrapped, opened))
}
