//! The two patterns of the configuration file: which tenants, which keys. A `*` stands only at the
//! end and only for whole segments, so that no prefix of a name ever matches another name.

use crate::provider::{TenantId, local};

/// `ns/name` or `ns/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPattern {
    namespace: String,
    /// `None` is every tenant of the namespace.
    name: Option<String>,
}

impl TenantPattern {
    /// `None` when the text is neither form. The caller names the place, never the value.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        if !is_dns_name(namespace) {
            return None;
        }
        let name = match name {
            "*" => None,
            name if is_dns_name(name) => Some(name.to_owned()),
            _ => return None,
        };
        Some(Self {
            namespace: namespace.to_owned(),
            name,
        })
    }

    /// Whether it names one tenant.
    pub fn is_exact(&self) -> bool {
        self.name.is_some()
    }

    pub fn matches(&self, tenant: &TenantId) -> bool {
        self.namespace == tenant.namespace
            && self.name.as_ref().is_none_or(|name| *name == tenant.name)
    }
}

/// `https://HOST/*`, `https://HOST/keys/*` or `https://HOST/keys/NAME`; the whole ARN of a key or alias
/// of AWS KMS, or `arn:PARTITION:kms:REGION:ACCOUNT:key/*`; `projects/P/*`, `projects/P/…/cryptoKeys/*` or `projects/P/…/cryptoKeys/K`; `local://*` or
/// `local://NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// In the spelling of canonical key ids. With `whole` unset it ends in `/`.
    prefix: String,
    whole: bool,
}

impl KeyPattern {
    /// `None` when the text is none of the forms.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("local://") {
            Some(name) => Self::local(text, name),
            None if text.starts_with("arn:") => Self::arn(text),
            None if text.starts_with("projects/") => Self::of_project(text),
            None => Self::of_host(text),
        }
    }

    /// One key or alias, or all keys of an account in a region.
    fn arn(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_/-".contains(&b);
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else {
            return None;
        };
        let (kind, name) = resource.split_once('/')?;
        let all = kind == "key" && name == "*";
        let sound = partition.starts_with("aws")
            && !region.is_empty()
            && account.len() == 12
            && ["key", "alias"].contains(&kind)
            && !name.is_empty();
        let name = if all { "" } else { name };
        let parts = [partition, region, account, name];
        (sound && parts.iter().all(|part| part.bytes().all(plain))).then(|| Self {
            prefix: text.strip_suffix('*').unwrap_or(text).to_owned(),
            whole: !all,
        })
    }

    fn local(text: &str, name: &str) -> Option<Self> {
        let whole = name != "*";
        if whole && !local::is_name(name) {
            return None;
        }
        Some(Self {
            prefix: text.strip_suffix('*').unwrap_or(text).to_owned(),
            whole,
        })
    }

    fn of_project(text: &str) -> Option<Self> {
        let Some(prefix) = text.strip_suffix('*') else {
            return google_key(text).map(|_| Self {
                prefix: text.to_owned(),
                whole: true,
            });
        };
        // Whatever the star stands for, it is in the place of one key's name or of all after a project.
        let ring = google_key(&format!("{prefix}k")).is_some();
        let project = prefix
            .strip_prefix("projects/")
            .and_then(|rest| rest.strip_suffix('/'));
        let whole_segment = prefix.ends_with('/');
        (whole_segment && (ring || project.is_some_and(is_google_project))).then(|| Self {
            prefix: prefix.to_owned(),
            whole: false,
        })
    }

    fn of_host(text: &str) -> Option<Self> {
        let canonical = text.to_ascii_lowercase();
        let (host, path) = canonical.strip_prefix("https://")?.split_once('/')?;
        if !is_dns_name(host) || !host.contains('.') {
            return None;
        }
        let whole = match path {
            "*" | "keys/*" => false,
            _ if is_key_name(path.strip_prefix("keys/")?) => true,
            _ => return None,
        };
        Some(Self {
            prefix: canonical.strip_suffix('*').unwrap_or(&canonical).to_owned(),
            whole,
        })
    }

    /// Whether it names one key.
    pub fn is_exact(&self) -> bool {
        self.whole
    }

    /// `key_id` is a canonical id, never the text of a spec.
    pub fn matches(&self, key_id: &str) -> bool {
        if self.whole {
            key_id == self.prefix
        } else {
            key_id.starts_with(&self.prefix)
        }
    }
}

/// Lower-case letters, digits, `-` and `.`, each label begun and ended by a letter or digit.
pub fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A key's name as Key Vault takes it: letters, digits and `-`, at most 127.
pub fn is_key_name(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Project, location, key ring and key of `projects/P/locations/L/keyRings/R/cryptoKeys/K`.
pub fn google_key(text: &str) -> Option<[&str; 4]> {
    let parts: Vec<&str> = text.split('/').collect();
    let [
        "projects",
        project,
        "locations",
        location,
        "keyRings",
        ring,
        "cryptoKeys",
        key,
    ] = parts[..]
    else {
        return None;
    };
    let short = |text: &str, plain: fn(u8) -> bool| {
        (1..=63).contains(&text.len()) && text.bytes().all(plain)
    };
    let name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let place = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = is_google_project(project)
        && short(location, place)
        && short(ring, name)
        && short(key, name);
    good.then_some([project, location, ring, key])
}

/// The id of a project: 6 to 30 lower-case letters, digits and `-`; an old one may belong to a domain,
/// `example.com:name`. cloud.google.com/resource-manager/docs/creating-managing-projects.
pub fn is_google_project(text: &str) -> bool {
    let id = match text.split_once(':') {
        Some((domain, id)) if is_dns_name(domain) && domain.len() <= 60 => id,
        Some(_) => return false,
        None => text,
    };
    (6..=30).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_match_whole_names_only() {
        let acme = TenantId::new("tenants", "acme");
        let hit = |text: &str| TenantPattern::parse(text).is_some_and(|p| p.matches(&acme));
        assert!(hit("tenants/acme"));
        assert!(hit("tenants/*"));
        assert!(!hit("tenants/acm"));
        assert!(!hit("tenants/acme2"));
        assert!(!hit("tenant/*"));
        for bad in [
            "*",
            "*/*",
            "*/acme",
            "tenants/a*",
            "tenants",
            "tenants/",
            "a/b/c",
        ] {
            assert_eq!(TenantPattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_match_on_segment_boundaries() {
        let key = "https://acme-kv.vault.azure.net/keys/wrap";
        let hit = |text: &str| KeyPattern::parse(text).is_some_and(|p| p.matches(key));
        assert!(hit("https://acme-kv.vault.azure.net/keys/*"));
        assert!(hit("https://acme-kv.vault.azure.net/*"));
        assert!(hit("https://ACME-kv.vault.azure.net/keys/Wrap"));
        assert!(!hit("https://acme-kv.vault.azure.net/keys/wra"));
        assert!(!hit("https://acme.vault.azure.net/keys/*"));
        for bad in [
            "*",
            "https://*",
            "https://*/keys/x",
            "https://*.vault.azure.net/*",
            "https://acme-kv.vault.azure.net/keys/wr*",
            "https://acme-kv.vault.azure.net/keys/wrap/*",
            "https://acme-kv.vault.azure.net/keys/wrap/0123",
            "https://acme-kv.vault.azure.net/secrets/*",
            "https://acme-kv.vault.azure.net",
            "https://acme-kv.vault.azure.net:443/*",
            "https://u@acme-kv.vault.azure.net/*",
            "http://acme-kv.vault.azure.net/*",
            "https://localhost/*",
        ] {
            assert_eq!(KeyPattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_of_aws_are_named_whole_or_by_account_and_region() {
        let key = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let hit = |text: &str| KeyPattern::parse(text).is_some_and(|p| p.matches(key));
        assert!(hit(key));
        assert!(!hit(&key.replace("0ab", "0ac")));
        let every = "arn:aws:kms:eu-central-1:444455556666:key/*";
        assert!(hit(every));
        assert!(KeyPattern::parse(every).is_some_and(|p| !p.is_exact()));
        assert!(!hit(&every.replace("eu-central-1", "eu-west-1")));
        assert!(!hit(&every.replace("444455556666", "444455556667")));
        assert!(!hit(&every.replace("aws:kms", "aws-cn:kms")));
        let alias = "arn:aws:kms:eu-central-1:444455556666:alias/acme";
        assert!(KeyPattern::parse(alias).is_some_and(|p| p.is_exact()));
        for bad in [
            "arn:*",
            "arn:aws:kms:eu-central-1:444455556666:*",
            "arn:aws:kms:eu-central-1:444455556666:key/1234*",
            "arn:aws:kms:eu-central-1:444455556666:key/*/x",
            "arn:aws:kms:eu-central-1:444455556666:alias/*",
            "arn:aws:kms:*:444455556666:key/a",
            "arn:aws:kms:eu-central-1:*:key/a",
            "arn:aws:iam::444455556666:role/a",
            "arn:aws:kms:eu-central-1:444455556666:key/",
        ] {
            assert_eq!(KeyPattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_of_google_match_on_segment_boundaries() {
        let ring = "projects/acme-prod/locations/eur4/keyRings/R_1/cryptoKeys";
        let key = format!("{ring}/wrap");
        let hit = |text: &str| KeyPattern::parse(text).is_some_and(|p| p.matches(&key));
        assert!(hit(&key) && hit(&format!("{ring}/*")) && hit("projects/acme-prod/*"));
        assert!(!hit(&format!("{ring}/wra")) && !hit(&format!("{ring}/Wrap")));
        assert!(!hit("projects/acme-pro/*") && !hit("projects/acme-prod2/*"));
        assert!(!hit(&ring.replace("eur4", "eur5")));
        for (text, exact) in [(key.as_str(), true), ("projects/acme-prod/*", false)] {
            assert_eq!(KeyPattern::parse(text).expect(text).is_exact(), exact);
        }
        for bad in [
            "projects/*",
            "projects/acme*",
            "projects/acme-prod",
            "projects/acme-prod/locations/*",
            "projects/../*",
            &format!("{ring}/wr*"),
            &format!("{ring}/*/x"),
            &format!("{key}/cryptoKeyVersions/1"),
            &format!("{key}/*"),
        ] {
            assert_eq!(KeyPattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_of_the_platform_match_by_their_whole_name() {
        let hit = |text: &str, key| KeyPattern::parse(text).is_some_and(|p| p.matches(key));
        assert!(hit("local://standard", "local://standard"));
        assert!(hit("local://*", "local://standard"));
        assert!(!hit("local://standard", "local://standard-2"));
        assert!(!hit("local://*", "https://local/keys/standard"));
        assert!(!hit("https://local.example/*", "local://standard"));
        for bad in [
            "local://",
            "local://std*",
            "local://*/*",
            "local://Standard",
            "LOCAL://standard",
            "local://a.1",
            "local://../a",
        ] {
            assert_eq!(KeyPattern::parse(bad), None, "{bad}");
        }
    }
}
