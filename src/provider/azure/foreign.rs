//! How a key may have been wrapped in Key Vault by somebody else: the algorithms that are opened once,
//! and the version that is needed for it. Never used for what is wrapped here.

use azure_security_keyvault_keys::models::EncryptionAlgorithm;

use super::keyref::{KeyRef, is_version};
use super::subject::Subject;
use crate::api::Reason;
use crate::provider::Failure;

/// learn.microsoft.com, "Key types, algorithms, and operations": RSA-OAEP-256, RSA-OAEP (SHA-1) and
/// `RSA1_5` wrap with an RSA key, the latter two "for backwards compatibility". `RSA1_5` is not opened:
/// whoever may write a spec and a Secret would learn from status whether a padding was right, and
/// such an oracle opens everything that the key ever wrapped.
pub fn algorithm(name: &str) -> Result<EncryptionAlgorithm, Failure> {
    match name {
        "RSA-OAEP-256" => Ok(EncryptionAlgorithm::RsaOaep256),
        "RSA-OAEP" => Ok(EncryptionAlgorithm::RsaOaep),
        _ => Err(Failure::misconfigured(
            Reason::KeyUnusable,
            "spec.masterKey.importFrom.algorithm is neither RSA-OAEP-256 nor RSA-OAEP, and nothing \
             was sent. RSA1_5 is not opened here, because its padding gives a key away: unwrap the \
             key where it was wrapped, wrap it again with RSA-OAEP-256, and put that into the \
             Secret: kubectl explain tenantkms.spec.masterKey.importFrom",
        )),
    }
}

/// Key Vault unwraps with a version that the caller names.
pub fn version(written: Option<&str>, key: &KeyRef, subject: &Subject) -> Result<String, Failure> {
    let version = written.or(key.version.as_deref());
    if let Some(version) = version.filter(|version| is_version(version)) {
        return Ok(version.to_owned());
    }
    Err(Failure::misconfigured(
        Reason::KeyUnusable,
        format!(
            "spec.masterKey.importFrom needs kekVersion, the version of the key that wrapped it (32 \
             letters and digits): Key Vault's own answer to wrapKey named it at the end of kid. \
             All versions are listed by: {}",
            subject.key_command("list-versions", "--query '[].kid' --output tsv")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Kind;
    use crate::provider::azure::subject::tests::application;

    #[test]
    fn only_oaep_is_opened() {
        for name in ["RSA-OAEP-256", "RSA-OAEP"] {
            assert_eq!(algorithm(name).expect(name).to_string(), name);
        }
        for name in ["RSA1_5", "rsa-oaep", "A256KW", "RSA-OAEP-512", ""] {
            let failure = algorithm(name).expect_err(name);
            assert_eq!(
                (failure.kind, failure.reason),
                (Kind::Misconfigured, Reason::KeyUnusable)
            );
        }
    }

    #[test]
    fn the_version_is_written_or_pinned() {
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        let key = |pinned: &str| {
            let url = format!("https://acme-kv.vault.azure.net/keys/k{pinned}");
            KeyRef::parse(&url, &[], None).expect("a key")
        };
        let (plain, pinned) = (key(""), key(&format!("/{one}")));
        let version = |written, key| version(written, key, &application()).ok();
        assert_eq!(version(Some(&two), &pinned), Some(two.clone()));
        assert_eq!(version(None, &pinned), Some(one));
        assert_eq!(version(None, &plain), None);
        assert_eq!(version(Some("../x"), &pinned), None);
        let failure = super::version(None, &plain, &application()).expect_err("none");
        assert!(
            failure.message.ends_with(
                "az keyvault key list-versions --vault-name 'acme-kv' --name 'wrap' --query \
                 '[].kid' --output tsv"
            ),
            "{failure}"
        );
    }
}
