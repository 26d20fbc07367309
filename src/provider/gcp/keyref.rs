//! A key's resource name, read strictly: it becomes a request's path and stands in commands. Never
//! repeats what it refuses.

use crate::api::Reason;
use crate::policy::pattern::google_key;
use crate::provider::Failure;

/// `projects/P/locations/L/keyRings/R/cryptoKeys/K`: one spelling for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub id: String,
    pub project: String,
    pub location: String,
    pub ring: String,
    pub key: String,
}

impl KeyRef {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let [project, location, ring, key] = google_key(text).ok_or_else(|| invalid(text))?;
        Ok(Self {
            project: project.to_owned(),
            location: location.to_owned(),
            ring: ring.to_owned(),
            key: key.to_owned(),
            id: text.to_owned(),
        })
    }

    /// The number in the name of one of this key's versions.
    pub fn version_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&self.id)?;
        rest.strip_prefix("/cryptoKeyVersions/")
            .filter(|number| is_version(number))
    }
}

/// Versions are numbered from 1.
pub fn is_version(text: &str) -> bool {
    (1..=19).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && !text.starts_with('0')
}

fn invalid(text: &str) -> Failure {
    let what = if text.contains("/cryptoKeyVersions/") {
        "names a version of a key: Cloud KMS chooses the primary one, so leave out \
         /cryptoKeyVersions and what follows"
    } else {
        "is no key's resource name"
    };
    Failure::misconfigured(
        Reason::InvalidKeyRef,
        format!(
            "spec.kmsKeyRef {what}. Write projects/P/locations/L/keyRings/R/cryptoKeys/K, as printed \
             by: gcloud kms keys list --project '<project>' --location '<location>' --keyring \
             '<key ring>' --format 'value(name)'"
        ),
    )
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::provider::Kind;

    pub const KEY: &str =
        "projects/acme-prod/locations/europe-west3/keyRings/tenants/cryptoKeys/acme";

    #[test]
    fn a_key_and_nothing_else_is_accepted() {
        let key = KeyRef::parse(KEY).expect("valid");
        assert_eq!(key.id, KEY);
        let parts = [&key.project, &key.location, &key.ring, &key.key];
        assert_eq!(parts, ["acme-prod", "europe-west3", "tenants", "acme"]);
        for good in [
            "projects/example.com:acme-1/locations/global/keyRings/R_1-x/cryptoKeys/K_1-x",
            "projects/acme-prod/locations/eur4/keyRings/r/cryptoKeys/k",
        ] {
            assert_eq!(KeyRef::parse(good).expect(good).id, good);
        }
        let long = format!("{}{}", KEY, "k".repeat(60));
        for bad in [
            "",
            "acme",
            &KEY[1..],
            &format!("/{KEY}"),
            &format!("{KEY}/"),
            &format!("{KEY}/cryptoKeyVersions/1"),
            &format!("{KEY}:encrypt"),
            &format!("{KEY}?x=y"),
            &format!("{KEY}#x"),
            &format!("{KEY}\n"),
            &format!("{KEY}%2f"),
            &format!("https://cloudkms.googleapis.com/v1/{KEY}"),
            &KEY.replace("acme-prod", ".."),
            &KEY.replace("acme-prod", "12345678"),
            &KEY.replace("acme-prod", "Acme-prod"),
            &KEY.replace("europe-west3", ".."),
            &KEY.replace("europe-west3", "EU"),
            &KEY.replace("tenants", ".."),
            &KEY.replace("tenants", "a/b"),
            &KEY.replace("cryptoKeys/acme", "cryptoKeys/../../x"),
            &KEY.replace("cryptoKeys", "secrets"),
            &KEY.replace("keyRings", "keyrings"),
            "https://acme-kv.vault.azure.net/keys/a",
            "arn:aws:kms:eu-west-1:1:key/2",
            &long,
        ] {
            let failure = KeyRef::parse(bad).expect_err(bad);
            let about = (failure.kind, failure.reason);
            assert_eq!(about, (Kind::Misconfigured, Reason::InvalidKeyRef), "{bad}");
            assert!(bad.len() < 20 || !failure.message.contains(bad), "{bad}");
        }
    }

    #[test]
    fn only_this_keys_versions_are_its_own() {
        let key = KeyRef::parse(KEY).expect("valid");
        let version = |text: &str| key.version_of(text).map(str::to_owned);
        assert_eq!(
            version(&format!("{KEY}/cryptoKeyVersions/12")).as_deref(),
            Some("12")
        );
        for other in [
            KEY.to_owned(),
            format!("{KEY}2/cryptoKeyVersions/1"),
            format!("{KEY}/cryptoKeyVersions/"),
            format!("{KEY}/cryptoKeyVersions/01"),
            format!("{KEY}/cryptoKeyVersions/1/x"),
            format!("x{KEY}/cryptoKeyVersions/1"),
        ] {
            assert_eq!(version(&other), None, "{other}");
        }
    }
}
