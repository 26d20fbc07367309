//! The key's URL, read strictly: what is accepted here is put into request paths unescaped by the
//! SDK, so nothing but a host, a name and a version gets through. Never repeats what it refuses.

use super::endpoint::{Endpoint, endpoint_of, own_suffixes};
use crate::api::{AzureSpec, Reason};
use crate::policy::pattern::{is_dns_name, is_key_name};
use crate::provider::Failure;

/// A key of one vault, as parsed from `spec.kmsKeyRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Lower case.
    pub host: String,
    /// Lower case: Key Vault's names are the same in every case.
    pub name: String,
    /// Lower case; `None` is the current one.
    pub version: Option<String>,
    pub endpoint: Endpoint,
    /// `https://HOST/keys/NAME`: one spelling for one key, without a version.
    pub id: String,
}

impl KeyRef {
    /// `extra` are the suffixes that the configuration allows, `authority` is theirs.
    pub fn parse(text: &str, extra: &[String], authority: Option<&str>) -> Result<Self, Failure> {
        let (host, path) = split(text)?;
        let endpoint = endpoint_of(&host, extra, authority).ok_or_else(not_an_endpoint)?;
        let path = path.strip_prefix("keys/").ok_or_else(|| {
            invalid("names no key: after the host comes /keys/NAME, and nothing but a key can wrap")
        })?;
        let (name, version) = match path.split_once('/') {
            None => (path, None),
            Some((name, version)) => (name, Some(version)),
        };
        if !is_key_name(name) {
            return Err(invalid(
                "has no valid key name: letters, digits and -, at most 127",
            ));
        }
        if version.is_some_and(|version| !is_version(version)) {
            return Err(invalid(
                "has something after the key's name that is no version: a version is 32 letters \
                 and digits",
            ));
        }
        let name = name.to_ascii_lowercase();
        Ok(Self {
            id: format!("https://{host}/keys/{name}"),
            host,
            name,
            version: version.map(str::to_ascii_lowercase),
            endpoint,
        })
    }

    /// `azure.vaultUrl` is for readers, and must say the same.
    pub fn check_vault_url(&self, spec: &AzureSpec) -> Result<(), Failure> {
        let Some(url) = spec.vault_url.as_deref() else {
            return Ok(());
        };
        let url = url.strip_suffix('/').unwrap_or(url);
        if url.eq_ignore_ascii_case(&self.origin()) {
            return Ok(());
        }
        Err(Failure::misconfigured(
            Reason::InvalidKeyRef,
            format!(
                "spec.azure.vaultUrl is not the vault of spec.kmsKeyRef. Leave it out, or write \
                 '{}'",
                self.origin()
            ),
        ))
    }

    /// `https://HOST`.
    pub fn origin(&self) -> String {
        format!("https://{}", self.host)
    }

    /// The vault's name, as `az keyvault` takes it.
    pub fn vault(&self) -> &str {
        self.host.split('.').next().unwrap_or(&self.host)
    }
}

/// A version of a key: 32 letters and digits, as Key Vault makes them.
pub fn is_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Host (lower case) and path of an https URL that is nothing but these.
fn split(text: &str) -> Result<(String, &str), Failure> {
    if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid(
            "is over 512 characters or has characters that no key's URL has",
        ));
    }
    let rest = text
        .strip_prefix("https://")
        .ok_or_else(|| invalid("does not begin with https://"))?;
    if rest.contains(['?', '#']) {
        return Err(invalid("has a query or a fragment"));
    }
    let (authority, path) = rest
        .split_once('/')
        .ok_or_else(|| invalid("names no key"))?;
    if authority.contains('@') {
        return Err(invalid("has user information before the host"));
    }
    if authority.contains(':') {
        return Err(invalid("has a port"));
    }
    let host = authority.to_ascii_lowercase();
    if !is_dns_name(&host) {
        return Err(invalid("has no valid host name"));
    }
    // A second opinion by the parser that will send the request: both must see the same host.
    let parsed = url::Url::parse(text).map_err(|_| invalid("is not a URL"))?;
    if parsed.host_str() != Some(&host) || parsed.path().strip_prefix('/') != Some(path) {
        return Err(invalid("can be read in two ways"));
    }
    Ok((host, path))
}

fn invalid(what: &str) -> Failure {
    Failure::misconfigured(
        Reason::InvalidKeyRef,
        format!(
            "spec.kmsKeyRef {what}. Write https://VAULT.vault.azure.net/keys/NAME, with /VERSION \
             to pin one, as printed by: az keyvault key show --vault-name '<vault>' --name \
             '<key>' --query key.kid --output tsv"
        ),
    )
}

fn not_an_endpoint() -> Failure {
    Failure::denial(
        Reason::EndpointNotAllowed,
        format!(
            "the host of spec.kmsKeyRef is none where keys may be used: NAME.SUFFIX with one of \
             {}. Check the host; for a private cloud the platform adds its suffix to \
             allowedEndpointSuffixes, then: tenant-kms config check '<file>'",
            own_suffixes()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Kind;

    const VERSION: &str = "0123456789abcdef0123456789ABCDEF";

    fn parse(text: &str) -> Result<KeyRef, Failure> {
        KeyRef::parse(text, &[], None)
    }

    #[test]
    fn one_key_has_one_id() {
        let plain = parse("https://acme-kv.vault.azure.net/keys/Wrap").expect("valid");
        let pinned = parse(&format!(
            "https://ACME-KV.vault.azure.net/keys/wrap/{VERSION}"
        ));
        let pinned = pinned.expect("valid");
        assert_eq!(plain.id, "https://acme-kv.vault.azure.net/keys/wrap");
        assert_eq!(plain.id, pinned.id);
        assert_eq!(plain.version, None);
        assert_eq!(pinned.version, Some(VERSION.to_ascii_lowercase()));
        assert_eq!(plain.vault(), "acme-kv");
    }

    #[test]
    fn nothing_else_gets_through() {
        let host = "https://acme-kv.vault.azure.net";
        for (text, reason) in [
            (
                "https://evilvault.azure.net/keys/a".to_owned(),
                Reason::EndpointNotAllowed,
            ),
            (
                "https://acme.vault.azure.net.evil.test/keys/a".to_owned(),
                Reason::EndpointNotAllowed,
            ),
            (
                "https://127.0.0.1/keys/a".to_owned(),
                Reason::EndpointNotAllowed,
            ),
            (
                "https://169.254.169.254/keys/a".to_owned(),
                Reason::EndpointNotAllowed,
            ),
            ("https://[::1]/keys/a".to_owned(), Reason::InvalidKeyRef),
            (
                "https://acme-kv.vault.azure.net:443/keys/a".to_owned(),
                Reason::InvalidKeyRef,
            ),
            (
                "https://user@acme-kv.vault.azure.net/keys/a".to_owned(),
                Reason::InvalidKeyRef,
            ),
            (
                "https://evil.test\\@acme-kv.vault.azure.net/keys/a".to_owned(),
                Reason::InvalidKeyRef,
            ),
            (
                "https://evil.test\\.vault.azure.net/keys/a".to_owned(),
                Reason::InvalidKeyRef,
            ),
            (
                "http://acme-kv.vault.azure.net/keys/a".to_owned(),
                Reason::InvalidKeyRef,
            ),
            (host.to_owned(), Reason::InvalidKeyRef),
            (format!("{host}/"), Reason::InvalidKeyRef),
            (format!("{host}/keys/"), Reason::InvalidKeyRef),
            (format!("{host}/secrets/a"), Reason::InvalidKeyRef),
            (format!("{host}/keys/../secrets/x"), Reason::InvalidKeyRef),
            (format!("{host}/keys/a/.."), Reason::InvalidKeyRef),
            (format!("{host}/keys/%2e%2e"), Reason::InvalidKeyRef),
            (format!("{host}/keys/a/"), Reason::InvalidKeyRef),
            (format!("{host}/keys/a/123"), Reason::InvalidKeyRef),
            (
                format!("{host}/keys/a/{VERSION}/wrapkey"),
                Reason::InvalidKeyRef,
            ),
            (
                format!("{host}/keys/a?api-version=7.4"),
                Reason::InvalidKeyRef,
            ),
            (format!("{host}/keys/a#b"), Reason::InvalidKeyRef),
            (format!("{host}/keys/a b"), Reason::InvalidKeyRef),
            (format!("{host}/keys/a\n"), Reason::InvalidKeyRef),
            (format!("{host}/keys/ä"), Reason::InvalidKeyRef),
            (
                format!("{host}/keys/{}", "a".repeat(128)),
                Reason::InvalidKeyRef,
            ),
            (format!(" {host}/keys/a"), Reason::InvalidKeyRef),
            (
                "arn:aws:kms:eu-west-1:1:key/2".to_owned(),
                Reason::InvalidKeyRef,
            ),
            (String::new(), Reason::InvalidKeyRef),
        ] {
            let failure = parse(&text).expect_err(&text);
            assert_eq!(failure.reason, reason, "{text}");
            assert_eq!(
                failure.kind == Kind::Denial,
                reason == Reason::EndpointNotAllowed
            );
        }
    }

    #[test]
    fn an_allowed_suffix_opens_its_hosts_only() {
        let extra = ["kv.example.test".to_owned()];
        let parse = |text: &str| KeyRef::parse(text, &extra, None);
        assert!(
            !parse("https://a.kv.example.test/keys/k")
                .expect("allowed")
                .endpoint
                .own
        );
        assert!(parse("https://akv.example.test/keys/k").is_err());
    }

    #[test]
    fn vault_url_must_say_the_same() {
        let key = parse("https://acme-kv.vault.azure.net/keys/a").expect("valid");
        let check = |url: &str| {
            key.check_vault_url(&AzureSpec {
                vault_url: Some(url.to_owned()),
                ..AzureSpec::default()
            })
        };
        assert!(check("https://acme-kv.vault.azure.net").is_ok());
        assert!(check("https://Acme-kv.vault.azure.net/").is_ok());
        for url in [
            "https://other.vault.azure.net",
            "https://acme-kv.vault.azure.net/keys",
            "",
        ] {
            assert_eq!(check(url).expect_err(url).reason, Reason::InvalidKeyRef);
        }
    }
}
