//! A key belongs to one namespace. The holder keeps who has which key: what the records' labels
//! say, and what is about to be recorded. Only digests of key ids are held.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use aws_lc_rs::digest;

use crate::provider::TenantId;
use crate::random::encode_hex;

pub const CLAIM_LABEL: &str = "tenantkms.dev/claim";
pub const NAMESPACE_LABEL: &str = "tenantkms.dev/tenant-namespace";
pub const NAME_LABEL: &str = "tenantkms.dev/tenant-name";

/// What stands in the claim label: 32 hex digits of sha256(canonical key id).
pub fn digest(key_id: &str) -> String {
    let key = everywhere(key_id);
    encode_hex(&digest::digest(&digest::SHA256, key.as_bytes()).as_ref()[..16])
}

/// Replicas of a multi-Region key of AWS have its id and its material: they are one key, in no region.
/// Here and not in the provider, so that a build without it reads the same claims.
fn everywhere(key_id: &str) -> Cow<'_, str> {
    let parts: Vec<&str> = key_id.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "kms", _, account, key] if key.starts_with("key/mrk-") => {
            format!("arn:{partition}:kms::{account}:{key}").into()
        }
        _ => key_id.into(),
    }
}

/// Another namespace has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken;

/// The claims of all records, as their labels tell them.
pub type Listed = HashMap<TenantId, String>;

/// The claim that a record's labels tell.
pub fn listed(labels: &BTreeMap<String, String>) -> Option<(TenantId, String)> {
    let label = |name| labels.get(name).cloned();
    let tenant = TenantId::new(label(NAMESPACE_LABEL)?, label(NAME_LABEL)?);
    Some((tenant, label(CLAIM_LABEL)?))
}

#[derive(Clone, Debug, Default)]
pub struct Claims {
    recorded: Listed,
    /// Proved and about to be recorded; may be on record already.
    reserved: Listed,
    /// How many tenants of which namespaces have a key, by either of the above.
    owners: HashMap<String, HashMap<String, usize>>,
    /// What was settled since a listing began, which may not show it.
    settled: HashSet<TenantId>,
}

impl Claims {
    /// Whether `tenant` may have this key.
    pub fn check(&self, tenant: &TenantId, key_id: &str) -> Result<(), Taken> {
        match self.owners.get(&digest(key_id)) {
            Some(owners) if owners.keys().any(|one| *one != tenant.namespace) => Err(Taken),
            _ => Ok(()),
        }
    }

    /// Holds the key for `tenant` until its record is settled; what it had stays its own.
    pub fn reserve(&mut self, tenant: &TenantId, key_id: &str) -> Result<(), Taken> {
        self.check(tenant, key_id)?;
        let claim = digest(key_id);
        if let Some(before) = self.reserved.insert(tenant.clone(), claim.clone()) {
            self.drop_owner(&before, tenant);
        }
        self.add_owner(claim, tenant);
        Ok(())
    }

    /// The record of `tenant` says this and nothing else.
    pub fn settle(&mut self, tenant: &TenantId, key_id: Option<&str>) {
        self.settled.insert(tenant.clone());
        self.put(tenant, key_id.map(digest));
    }

    /// Everything settled from here on is newer than the listing that begins now.
    pub fn listing_begins(&mut self) {
        self.settled.clear();
    }

    /// Takes a whole listing of the records; reservations stay.
    pub fn learn(&mut self, listed: Listed) {
        let gone = self
            .recorded
            .keys()
            .filter(|one| !listed.contains_key(*one));
        let gone: Vec<TenantId> = gone.cloned().collect();
        let changes = listed
            .into_iter()
            .map(|(tenant, claim)| (tenant, Some(claim)))
            .chain(gone.into_iter().map(|tenant| (tenant, None)));
        for (tenant, claim) in changes {
            if !self.settled.contains(&tenant) {
                let reserved = self.reserved.remove(&tenant);
                self.put(&tenant, claim);
                if let Some(reserved) = reserved {
                    self.reserved.insert(tenant, reserved);
                }
            }
        }
    }

    fn put(&mut self, tenant: &TenantId, claim: Option<String>) {
        let before = [self.recorded.remove(tenant), self.reserved.remove(tenant)];
        for before in before.into_iter().flatten() {
            self.drop_owner(&before, tenant);
        }
        if let Some(claim) = claim {
            self.recorded.insert(tenant.clone(), claim.clone());
            self.add_owner(claim, tenant);
        }
    }

    fn add_owner(&mut self, claim: String, tenant: &TenantId) {
        let owners = self.owners.entry(claim).or_default();
        *owners.entry(tenant.namespace.clone()).or_default() += 1;
    }

    fn drop_owner(&mut self, claim: &str, tenant: &TenantId) {
        let Some(owners) = self.owners.get_mut(claim) else {
            return;
        };
        if let Some(count) = owners.get_mut(&tenant.namespace) {
            *count -= 1;
            if *count == 0 {
                owners.remove(&tenant.namespace);
            }
        }
        if owners.is_empty() {
            self.owners.remove(claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(claims: &mut Claims, tenant: &TenantId, key: &str) -> Result<(), Taken> {
        claims.reserve(tenant, key)?;
        claims.settle(tenant, Some(key));
        Ok(())
    }

    #[test]
    fn a_key_belongs_to_one_namespace() {
        let mut claims = Claims::default();
        let [acme, twin, other] = [("a", "acme"), ("a", "twin"), ("b", "x")]
            .map(|(namespace, name)| TenantId::new(namespace, name));
        assert_eq!(take(&mut claims, &acme, "key"), Ok(()));
        assert_eq!(take(&mut claims, &twin, "key"), Ok(()));
        assert_eq!(take(&mut claims, &other, "key"), Err(Taken));
        assert_eq!(take(&mut claims, &acme, "key-2"), Ok(()));
        assert_eq!(claims.check(&other, "key"), Err(Taken), "twin has it");
        assert_eq!(take(&mut claims, &twin, "key-3"), Ok(()));
        assert_eq!(claims.check(&other, "key"), Ok(()));
        assert_eq!(claims.check(&other, "key-2"), Err(Taken));
    }

    #[test]
    fn a_multi_region_key_is_one_key_in_all_regions() {
        let key = |region: &str, id: &str| digest(&format!("arn:aws:kms:{region}:4444:key/{id}"));
        assert_eq!(key("eu-west-1", "mrk-1"), key("us-east-1", "mrk-1"));
        assert_ne!(key("eu-west-1", "mrk-1"), key("eu-west-1", "mrk-2"));
        assert_ne!(key("eu-west-1", "1"), key("us-east-1", "1"));
    }

    #[test]
    fn the_old_key_is_kept_until_the_record_says_so() {
        let mut claims = Claims::default();
        let (acme, other) = (TenantId::new("a", "acme"), TenantId::new("b", "x"));
        assert_eq!(take(&mut claims, &acme, "old"), Ok(()));
        assert_eq!(claims.reserve(&acme, "new"), Ok(()));
        for key in ["old", "new"] {
            assert_eq!(claims.check(&other, key), Err(Taken), "{key}");
        }
        claims.settle(&acme, Some("old")); // the write failed, and was read again
        assert_eq!(claims.check(&other, "new"), Ok(()));
        assert_eq!(claims.check(&other, "old"), Err(Taken));
    }

    #[test]
    fn a_listing_tells_of_records_that_are_gone_and_not_of_newer_ones() {
        let mut claims = Claims::default();
        let [acme, old, other] = [("a", "acme"), ("a", "old"), ("b", "x")]
            .map(|(namespace, name)| TenantId::new(namespace, name));
        claims.learn(Listed::from([(old.clone(), digest("old"))]));
        assert_eq!(claims.check(&other, "old"), Err(Taken));
        claims.listing_begins();
        assert_eq!(take(&mut claims, &acme, "new"), Ok(()));
        claims.learn(Listed::new());
        assert_eq!(claims.check(&other, "old"), Ok(()), "its record is gone");
        assert_eq!(
            claims.check(&other, "new"),
            Err(Taken),
            "newer than the listing"
        );
        assert_eq!(take(&mut claims, &other, "old"), Ok(()));
    }

    #[test]
    fn a_listing_leaves_reservations_alone() {
        let mut claims = Claims::default();
        let (acme, other) = (TenantId::new("a", "acme"), TenantId::new("b", "x"));
        assert_eq!(claims.reserve(&acme, "new"), Ok(()));
        claims.learn(Listed::from([(acme.clone(), digest("old"))]));
        assert_eq!(claims.check(&other, "old"), Err(Taken));
        assert_eq!(claims.check(&other, "new"), Err(Taken));
        claims.settle(&acme, Some("new"));
        assert_eq!(claims.check(&other, "old"), Ok(()));
    }

    #[test]
    fn a_claim_is_told_by_labels() {
        let labels = BTreeMap::from([
            (CLAIM_LABEL.to_owned(), digest("key")),
            (NAMESPACE_LABEL.to_owned(), "a".to_owned()),
            (NAME_LABEL.to_owned(), "acme".to_owned()),
        ]);
        let told = Some((TenantId::new("a", "acme"), digest("key")));
        assert_eq!(listed(&labels), told);
    }
}
