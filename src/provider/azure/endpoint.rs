//! Which hosts hold keys, and for each the one authority and audience that go with it. Everything
//! here is fixed by the suffix: a tenant chooses neither.

/// One kind of place for keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Without a leading dot.
    pub suffix: String,
    /// Where tokens for it are issued, without a trailing slash.
    pub authority: String,
    /// The only audience a token is ever asked for.
    pub resource: String,
    pub hsm: bool,
    /// One of Azure's own, not one that the platform's configuration added.
    pub own: bool,
}

const PUBLIC: &str = "https://login.microsoftonline.com";

/// learn.microsoft.com, "About keys, secrets and certificates", DNS suffixes; and "Microsoft
/// Entra authentication endpoints".
const OWN: [(&str, &str, bool); 6] = [
    ("vault.azure.net", PUBLIC, false),
    ("managedhsm.azure.net", PUBLIC, true),
    (
        "vault.azure.cn",
        "https://login.partner.microsoftonline.cn",
        false,
    ),
    (
        "managedhsm.azure.cn",
        "https://login.partner.microsoftonline.cn",
        true,
    ),
    (
        "vault.usgovcloudapi.net",
        "https://login.microsoftonline.us",
        false,
    ),
    (
        "managedhsm.usgovcloudapi.net",
        "https://login.microsoftonline.us",
        true,
    ),
];

/// The variable with the authority of a cloud that is none of Azure's own: the SDKs' usual one.
pub const AUTHORITY_VARIABLE: &str = "AZURE_AUTHORITY_HOST";

/// The endpoint that `host` (lower case) belongs to: a suffix with exactly one label before it
/// (more for `extra` suffixes). Matched on label boundaries.
pub fn endpoint_of(host: &str, extra: &[String], authority: Option<&str>) -> Option<Endpoint> {
    let label = |suffix: &str| {
        let before = host.strip_suffix(suffix)?.strip_suffix('.')?;
        (!before.is_empty()).then_some(before)
    };
    for (suffix, authority, hsm) in OWN {
        if label(suffix).is_some_and(|before| !before.contains('.')) {
            return Some(Endpoint {
                suffix: suffix.to_owned(),
                authority: authority.to_owned(),
                resource: format!("https://{suffix}"),
                hsm,
                own: true,
            });
        }
    }
    let suffix = extra.iter().find(|suffix| label(suffix).is_some())?;
    Some(Endpoint {
        suffix: suffix.clone(),
        authority: authority.unwrap_or(PUBLIC).trim_end_matches('/').to_owned(),
        resource: format!("https://{suffix}"),
        hsm: false,
        own: false,
    })
}

/// For messages: the suffixes anybody may use.
pub fn own_suffixes() -> String {
    OWN.map(|(suffix, _, _)| suffix).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_match_on_label_boundaries() {
        let extra = ["kv.example.test".to_owned()];
        let suffix = |host: &str| endpoint_of(host, &extra, None).map(|e| e.suffix);
        assert_eq!(
            suffix("acme.vault.azure.net").as_deref(),
            Some("vault.azure.net")
        );
        assert_eq!(
            suffix("a.b.kv.example.test").as_deref(),
            Some("kv.example.test")
        );
        for host in [
            "evilvault.azure.net",
            "vault.azure.net",
            ".vault.azure.net",
            "a.b.vault.azure.net",
            "acme.vault.azure.net.evil.test",
            "evilkv.example.test",
            "169.254.169.254",
            "localhost",
        ] {
            assert_eq!(suffix(host), None, "{host}");
        }
    }

    #[test]
    fn authority_and_audience_follow_from_the_suffix() {
        let of =
            |host: &str| endpoint_of(host, &["x.test".to_owned()], Some("https://login.x.test/"));
        let china = of("a.vault.azure.cn").expect("known");
        assert_eq!(china.authority, "https://login.partner.microsoftonline.cn");
        assert_eq!(china.resource, "https://vault.azure.cn");
        assert!(of("a.managedhsm.azure.net").expect("known").hsm);
        let extra = of("a.x.test").expect("allowed");
        assert_eq!(
            (extra.authority.as_str(), extra.own),
            ("https://login.x.test", false)
        );
    }
}
