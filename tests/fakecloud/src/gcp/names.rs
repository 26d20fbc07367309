//! Resource names, read as strictly as the real services read them: a path is never cleaned and never decoded.

/// `projects/P/locations/L/keyRings/R/cryptoKeys/K`, perhaps with `/cryptoKeyVersions/N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyName {
    pub(crate) project: String,
    pub(crate) key: String,
    pub(crate) version: Option<u32>,
}

impl KeyName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (key, version) = match parts[..] {
            [.., "cryptoKeyVersions", number] if parts.len() == 10 => {
                (&parts[..8], Some(number.parse().ok()?))
            }
            _ => (&parts[..], None),
        };
        let [
            "projects",
            project,
            "locations",
            location,
            "keyRings",
            ring,
            "cryptoKeys",
            name,
        ] = key[..]
        else {
            return None;
        };
        let plain = |text: &str, more: &[u8]| {
            (1..=63).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        let good = plain(project, b"-.:")
            && plain(location, b"-")
            && plain(ring, b"-_")
            && plain(name, b"-_");
        good.then(|| Self {
            project: project.to_owned(),
            key: key.join("/"),
            version,
        })
    }

    /// The key, or the version if one is named.
    pub(crate) fn full(&self) -> String {
        match self.version {
            Some(version) => format!("{}/cryptoKeyVersions/{version}", self.key),
            None => self.key.clone(),
        }
    }
}

/// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME`: number and pool.
pub(crate) fn provider(text: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [
            "projects",
            number,
            "locations",
            "global",
            "workloadIdentityPools",
            pool,
            "providers",
            name,
        ] if !name.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => Some((number, pool)),
        _ => None,
    }
}

/// The project of `NAME@PROJECT.iam.gserviceaccount.com`.
pub(crate) fn account_project(email: &str) -> Option<&str> {
    let (name, rest) = email.split_once('@')?;
    let project = rest.strip_suffix(".iam.gserviceaccount.com")?;
    (!name.is_empty() && !project.is_empty()).then_some(project)
}
