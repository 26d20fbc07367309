//! A key belongs to one namespace. The holder keeps who has which key, learned from the records'
//! labels; only digests of key ids are held.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest;

use crate::provider::TenantId;
use crate::random::encode_hex;

pub const CLAIM_LABEL: &str = "tenantkms.dev/claim";
pub const NAMESPACE_LABEL: &str = "tenantkms.dev/tenant-namespace";
pub const NAME_LABEL: &str = "tenantkms.dev/tenant-name";

/// What stands in the claim label: 32 hex digits of sha256(canonical key id).
pub fn digest(key_id: &str) -> String {
    encode_hex(&digest::digest(&digest::SHA256, key_id.as_bytes()).as_ref()[..16])
}

/// Another namespace has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken;

#[derive(Clone, Debug, Default)]
pub struct Claims {
    tenants_of: HashMap<String, Vec<TenantId>>,
}

impl Claims {
    /// Learns the claim of a record from its labels.
    pub fn learn(&mut self, labels: &BTreeMap<String, String>) {
        if let (Some(claim), Some(namespace), Some(name)) = (
            labels.get(CLAIM_LABEL),
            labels.get(NAMESPACE_LABEL),
            labels.get(NAME_LABEL),
        ) {
            let tenant = TenantId {
                namespace: namespace.clone(),
                name: name.clone(),
            };
            self.insert(claim.clone(), tenant);
        }
    }

    /// Whether `tenant` may have this key.
    pub fn check(&self, tenant: &TenantId, key_id: &str) -> Result<(), Taken> {
        let foreign = |one: &TenantId| one.namespace != tenant.namespace;
        match self.tenants_of.get(&digest(key_id)) {
            Some(owners) if owners.iter().any(foreign) => Err(Taken),
            _ => Ok(()),
        }
    }

    /// Takes the key for `tenant`, and lets go of `previous`.
    pub fn take(
        &mut self,
        tenant: &TenantId,
        key_id: &str,
        previous: Option<&str>,
    ) -> Result<(), Taken> {
        self.check(tenant, key_id)?;
        if let Some(previous) = previous.filter(|previous| *previous != key_id) {
            self.release(tenant, previous);
        }
        self.insert(digest(key_id), tenant.clone());
        Ok(())
    }

    pub fn release(&mut self, tenant: &TenantId, key_id: &str) {
        if let Some(owners) = self.tenants_of.get_mut(&digest(key_id)) {
            owners.retain(|one| one != tenant);
        }
    }

    fn insert(&mut self, claim: String, tenant: TenantId) {
        let owners = self.tenants_of.entry(claim).or_default();
        if !owners.contains(&tenant) {
            owners.push(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(namespace: &str, name: &str) -> TenantId {
        TenantId {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_key_belongs_to_one_namespace() {
        let mut claims = Claims::default();
        let (acme, twin, other) = (tenant("a", "acme"), tenant("a", "twin"), tenant("b", "x"));
        assert_eq!(claims.take(&acme, "key", None), Ok(()));
        assert_eq!(claims.take(&twin, "key", None), Ok(()));
        assert_eq!(claims.take(&other, "key", None), Err(Taken));
        assert_eq!(claims.take(&acme, "key-2", Some("key")), Ok(()));
        assert_eq!(claims.check(&other, "key"), Err(Taken), "twin still has it");
        assert_eq!(claims.take(&twin, "key-3", Some("key")), Ok(()));
        assert_eq!(claims.check(&other, "key"), Ok(()));
    }

    #[test]
    fn claims_are_learned_from_labels() {
        let mut claims = Claims::default();
        claims.learn(&BTreeMap::from([
            (CLAIM_LABEL.to_owned(), digest("key")),
            (NAMESPACE_LABEL.to_owned(), "a".to_owned()),
            (NAME_LABEL.to_owned(), "acme".to_owned()),
        ]));
        assert_eq!(claims.check(&tenant("b", "x"), "key"), Err(Taken));
    }
}
