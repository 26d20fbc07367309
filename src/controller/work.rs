//! What attempts do with a key service: prove, try, survey, rotate. Nothing is written here, and
//! nothing decided; answers go back to the tenant.

use std::time::Duration;

use tokio::time::timeout;

use super::context::Context;
use super::tenant::{Basis, Change, Checked, Reading, Rotated, Success, Surveyed, Tried};
use crate::api::{ImportFrom, Reason, TenantKmsSpec};
use crate::provider::{Anchor, Failure, Kms, TenantId, probe};
use crate::record::Record;
use crate::record::keyring::wrapping::Opened;
use crate::record::keyring::{Kek, Keyring, Locked, problem, takeover, wrapping};

/// How long a new spec, proved, waits for its key's attributes.
const BRIEFLY: Duration = Duration::from_secs(2);

/// Whose keys, and what is on record of them.
#[derive(Clone, Debug)]
pub struct Bound {
    pub basis: Basis,
    pub keyring: Option<Keyring>,
}

/// The active version, as a check needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    pub tenant_uid: String,
    pub locked: Option<(Kek, Locked)>,
}

impl Active {
    pub fn of(record: &Record) -> Self {
        let locked = record.keyring.as_ref().and_then(|keyring| {
            let locked = keyring.locked(keyring.active()?)?;
            Some((keyring.kek.clone(), locked))
        });
        Self {
            tenant_uid: record.tenant_uid.clone(),
            locked,
        }
    }

    /// What a connection needs of it.
    pub fn anchor(&self) -> Anchor {
        let wrapping = self.locked.as_ref().map(|(kek, _)| kek.key_id.as_str());
        Anchor::of(&self.tenant_uid, wrapping)
    }
}

fn success(kms: &dyn Kms, kek_version: &str) -> Success {
    Success {
        kek_version: kek_version.to_owned(),
        identity: kms.identity().to_owned(),
    }
}

/// Opens the active master key; a tenant that has none is probed.
pub async fn check(
    ctx: &Context,
    id: &TenantId,
    spec: &TenantKmsSpec,
    active: &Active,
    fresh: bool,
) -> Result<Checked, Failure> {
    let uid = active.tenant_uid.as_str();
    let anchor = active.anchor();
    let kms = ctx.providers.connect(id, spec, &anchor, fresh).await?;
    let Some((kek, locked)) = &active.locked else {
        let proved = probe(kms.as_ref(), uid).await?;
        return Ok(Checked {
            success: success(kms.as_ref(), &proved.kek_version),
            opened: None,
        });
    };
    if kms.key_id() != kek.key_id {
        return Err(problem::corrupt(&locked.id));
    }
    let opened = wrapping::open(kms.as_ref(), uid, locked).await?;
    Ok(Checked {
        success: success(kms.as_ref(), &kek.version),
        opened: Some(opened),
    })
}

/// Proves a new spec, and does with the keyring what it asks for: nothing, its first version, or
/// the same versions under another key. `before` is the spec in force, unless the object is another
/// than it was verified for.
pub async fn attempt(
    ctx: &Context,
    id: &TenantId,
    spec: &TenantKmsSpec,
    before: Option<&TenantKmsSpec>,
    bound: &Bound,
) -> Result<Tried, Failure> {
    let uid = bound.basis.tenant_uid.as_str();
    let anchor = Anchor::of(uid, None);
    let kms = ctx.providers.connect(id, spec, &anchor, true).await?;
    let new = kms.as_ref();
    let claim = new.is_exclusive().then(|| new.key_id().to_owned());
    if let Some(key) = &claim {
        let checked = ctx.check_claim(id, key).await;
        checked.map_err(|_| conflict(&ctx.records_namespace, key))?;
    }
    let proved = probe(new, uid).await?;
    let keyring = bound.keyring.as_ref();
    let active = keyring.and_then(|one| Some((one, one.locked(one.active()?)?)));
    let (change, opened) = match active {
        None => {
            // A keyring that was erased does not get its key back from elsewhere.
            let (minted, opened) = match spec.import_from().filter(|_| keyring.is_none()) {
                Some(from) => Box::pin(taken_over(ctx, id, new, uid, from)).await?,
                None => wrapping::mint(new, uid).await?,
            };
            let kek = kek(spec, new, &minted);
            (Change::Begin { kek, minted }, Some(opened))
        }
        Some((keyring, locked)) if keyring.kek.key_id == new.key_id() => {
            if keyring.kek.version == proved.kek_version {
                (Change::None, Some(wrapping::open(new, uid, &locked).await?))
            } else {
                let (rewrapped, opened) =
                    wrapping::rewrap(new, new, spec.provider, uid, keyring).await?;
                (Change::Rewrap(rewrapped), opened)
            }
        }
        Some((keyring, _)) => {
            let before = before.ok_or_else(never_migrates)?;
            let anchor = Anchor::of(uid, Some(&keyring.kek.key_id));
            let old = ctx.providers.connect(id, before, &anchor, true).await;
            let old = old.map_err(old_key)?;
            let rewrapped = wrapping::rewrap(old.as_ref(), new, spec.provider, uid, keyring).await;
            let (rewrapped, opened) = rewrapped.map_err(old_key)?;
            (Change::Rewrap(rewrapped), opened)
        }
    };
    // Nobody's proof grows old meanwhile: the spec is not in force yet.
    let reading = timeout(BRIEFLY, new.attributes()).await.ok();
    Ok(Tried {
        success: success(new, &proved.kek_version),
        claim,
        reading,
        basis: bound.basis.clone(),
        change,
        opened,
    })
}

/// Looks at the key beside the checks: what is said of it, and whether it still wraps.
pub async fn survey(
    ctx: &Context,
    id: &TenantId,
    spec: &TenantKmsSpec,
    anchor: &Anchor,
) -> Result<Surveyed, Failure> {
    let uid = anchor.tenant_uid.as_deref().unwrap_or_default();
    let kms = ctx.providers.connect(id, spec, anchor, false).await?;
    let probed = probe(kms.as_ref(), uid).await;
    let reading: Reading = kms.attributes().await;
    Ok(Surveyed { reading, probed })
}

/// Makes another master key. When the customer's key has a new version, everything goes under it.
pub async fn rotate(
    ctx: &Context,
    id: &TenantId,
    spec: &TenantKmsSpec,
    bound: &Bound,
) -> Result<Rotated, Failure> {
    let uid = bound.basis.tenant_uid.as_str();
    let keyring = bound.keyring.as_ref();
    let wrapping = keyring
        .filter(|keyring| keyring.active().is_some())
        .map(|keyring| keyring.kek.key_id.as_str());
    let anchor = Anchor::of(uid, wrapping);
    let kms = ctx.providers.connect(id, spec, &anchor, false).await?;
    let kms = kms.as_ref();
    let proved = probe(kms, uid).await?;
    // One key wraps every live version: what another one wraps would not open.
    if let Some((keyring, active)) = keyring.and_then(|one| Some((one, one.active()?)))
        && keyring.kek.key_id != kms.key_id()
    {
        return Err(problem::corrupt(&active.id));
    }
    let outdated = keyring.filter(|keyring| keyring.kek.version != proved.kek_version);
    let rewrapped = match outdated.filter(|keyring| keyring.active().is_some()) {
        Some(keyring) => {
            let (rewrapped, _) = wrapping::rewrap(kms, kms, spec.provider, uid, keyring).await?;
            Some(rewrapped)
        }
        None => None,
    };
    let (minted, opened) = wrapping::mint(kms, uid).await?;
    let kek = kek(spec, kms, &minted);
    let moved = rewrapped.as_ref().is_some_and(|new| new.kek != kek);
    if moved || kek.version != proved.kek_version {
        return Err(problem::moved());
    }
    Ok(Rotated {
        kek,
        minted,
        rewrapped,
        opened,
    })
}

/// The first master key, from what the customer's key wrapped elsewhere.
async fn taken_over(
    ctx: &Context,
    id: &TenantId,
    kms: &dyn Kms,
    uid: &str,
    from: &ImportFrom,
) -> Result<(Locked, Opened), Failure> {
    let foreign = ctx.providers.lent(id, &from.secret_ref).await?;
    takeover::take(kms, uid, from, &foreign).await
}

fn kek(spec: &TenantKmsSpec, kms: &dyn Kms, minted: &Locked) -> Kek {
    Kek {
        provider: spec.provider,
        key_id: kms.key_id().to_owned(),
        version: minted.wrapped.kek_version.clone(),
    }
}

/// The key is another namespace's. Its name is not told: it may be another customer's.
pub fn conflict(records_namespace: &str, key_id: &str) -> Failure {
    let digest = crate::record::claims::digest(key_id);
    Failure::misconfigured(
        Reason::KeyRefConflict,
        format!(
            "This key already belongs to a tenant of another namespace, and a key serves one \
             namespace only. Use another key; a platform administrator finds the owner with \
             `kubectl -n '{records_namespace}' get secrets -L tenantkms.dev/tenant-namespace \
             -l 'tenantkms.dev/claim={digest}'`."
        ),
    )
}

/// A re-created object with another key: whoever could create it may not move the tenant's keys.
fn never_migrates() -> Failure {
    Failure::misconfigured(
        Reason::NotAllowed,
        "This object was created anew and names another key than the one that wraps the tenant's \
         master keys. Apply it with the key it had; once it is Active, change spec.kmsKeyRef and \
         the keys move: `kubectl apply -f '<manifest with the former key>'`.",
    )
}

/// Moving needs the former key once more; what failed there says nothing about the new one.
fn old_key(mut failure: Failure) -> Failure {
    failure.message = format!(
        "The master keys are still wrapped by the former key, which has to open once more: {}",
        failure.message
    );
    failure
}
