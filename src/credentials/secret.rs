//! Client secrets: read from a mounted directory or the environment at the moment of use. Never
//! kept beyond the exchange that needs them; what is remembered is a keyed fingerprint.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use crate::api::Reason;
use crate::policy::AllowedVariable;
use crate::provider::Failure;

/// No real client secret is near this; a whole disk mounted by mistake is over it.
const MAX_BYTES: u64 = 64 * 1024;

/// A secret text: zeroized when dropped, never printed, never compared or cloned.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The value, for the one request that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A text without the line end that editors and shells add; or why it is none.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self, &'static str> {
        let mut value = text(bytes).map_err(|Unreadable(why)| why)?;
        let trimmed = value.trim_end_matches(['\r', '\n']).len();
        value.truncate(trimmed);
        if value.is_empty() {
            return Err("is empty");
        }
        Ok(Self(value))
    }

    /// The content of a file, read now; or why there is none.
    pub fn from_path(path: &Path) -> Result<Self, &'static str> {
        match from_file(path) {
            Ok(Some(mut value)) => Self::from_bytes(std::mem::take(&mut *value).into_bytes()),
            Ok(None) => Err("is not there"),
            Err(Unreadable(why)) => Err(why),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A folder whose files are named as the variables (a mounted Secret: rotated without a restart),
/// then the process environment.
#[derive(Clone, Debug, Default)]
pub struct SecretSource {
    folder: Option<PathBuf>,
}

impl SecretSource {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The value of a variable that the policy allowed, read now.
    pub fn read(&self, variable: &AllowedVariable) -> Result<Secret, Failure> {
        let name = variable.name();
        let value = match &self.folder {
            Some(folder) => match from_file(&folder.join(name)) {
                Ok(found) => found,
                Err(Unreadable(why)) => return Err(self.missing(name, why)),
            },
            None => None,
        };
        let value = match value {
            Some(value) => Some(value),
            None => from_environment(name).map_err(|Unreadable(why)| self.missing(name, why))?,
        };
        let Some(mut value) = value else {
            return Err(self.missing(name, "is neither a file of the secret directory nor set"));
        };
        Secret::from_bytes(std::mem::take(&mut *value).into_bytes())
            .map_err(|why| self.missing(name, why))
    }

    /// `name` was allowed by the policy, so it is a name and may be repeated.
    fn missing(&self, name: &str, why: &str) -> Failure {
        let hint = if self.folder.is_some() {
            "add it as a key of the Secret that is mounted as the operator's secret directory: \
             kubectl create secret generic '<secret>' --from-file="
        } else {
            "add it to the operator's environment from a Secret: \
             kubectl create secret generic '<secret>' --from-file="
        };
        Failure::misconfigured(
            Reason::EnvVarNotFound,
            format!(
                "the variable {name} {why}. Check the operator's Deployment, and {hint}'{name}={}'",
                "<file with the client secret>"
            ),
        )
    }
}

struct Unreadable(&'static str);

fn from_file(path: &Path) -> Result<Option<Zeroizing<String>>, Unreadable> {
    match bytes_of(path) {
        Ok(Some(mut bytes)) => text(std::mem::take(&mut *bytes)).map(Some),
        Ok(None) => Ok(None),
        Err(why) => Err(Unreadable(why)),
    }
}

/// The content of a file of secrets, read now; nothing when there is none, or why it cannot be had.
pub fn bytes_of(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, &'static str> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(_) => return Err("is a file that the operator may not read"),
    };
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return Err("is not a regular file");
    }
    // Reserved whole, so that growing leaves no copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(MAX_BYTES).unwrap_or(0) + 1,
    ));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| "is a file that cannot be read")?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is a file of more than 64 KiB");
    }
    Ok(Some(bytes))
}

fn from_environment(name: &str) -> Result<Option<Zeroizing<String>>, Unreadable> {
    use std::os::unix::ffi::OsStringExt;
    match std::env::var_os(name) {
        Some(value) => text(value.into_vec()).map(Some),
        None => Ok(None),
    }
}

fn text(bytes: Vec<u8>) -> Result<Zeroizing<String>, Unreadable> {
    String::from_utf8(bytes)
        .map(Zeroizing::new)
        .map_err(|error| {
            error.into_bytes().zeroize();
            Unreadable("is not UTF-8 text")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;
    use crate::provider::{Kind, TenantId};

    fn allowed(name: &str) -> AllowedVariable {
        let file = format!(
            "apiVersion: {}\nkind: {}\nclientSecretVariables: [{{name: {name}, tenants: [a/*]}}]\n",
            policy::API_VERSION,
            policy::KIND
        );
        let policy = policy::parse(&file).expect("valid");
        policy
            .variable(&TenantId::new("a", "b"), name)
            .expect("allowed")
    }

    #[test]
    fn the_folder_comes_first_and_is_read_anew_each_time() {
        let folder = tempfile::tempdir().expect("folder");
        let source = SecretSource::new(Some(folder.path().to_owned()));
        // The test runner always has PATH: the environment answers where the folder does not.
        let path = allowed("PATH");
        let from_environment = source.read(&path).expect("set").expose().to_owned();
        std::fs::write(folder.path().join("PATH"), "one\r\n\n").expect("write");
        assert_eq!(source.read(&path).expect("file").expose(), "one");
        assert_ne!(from_environment, "one");
        std::fs::write(folder.path().join("PATH"), "two").expect("write");
        assert_eq!(source.read(&path).expect("file").expose(), "two");
    }

    #[test]
    fn what_cannot_be_used_is_a_misconfiguration_with_the_name() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("EMPTY"), "\n").expect("write");
        std::fs::write(folder.path().join("BINARY"), [0xff, 0xfe]).expect("write");
        std::fs::write(folder.path().join("BIG"), vec![b'x'; 65 * 1024]).expect("write");
        std::fs::create_dir(folder.path().join("FOLDER")).expect("create");
        let source = SecretSource::new(Some(folder.path().to_owned()));
        for (name, why) in [
            ("EMPTY", "is empty"),
            ("BINARY", "not UTF-8"),
            ("BIG", "more than 64 KiB"),
            ("FOLDER", "not a regular file"),
            ("TENANT_KMS_TEST_ABSENT", "neither"),
        ] {
            let failure = source.read(&allowed(name)).expect_err(name);
            assert_eq!(
                (failure.kind, failure.reason),
                (Kind::Misconfigured, Reason::EnvVarNotFound)
            );
            assert!(
                failure.message.contains(name) && failure.message.contains(why),
                "{failure}"
            );
        }
    }

    #[test]
    fn a_secret_cannot_be_printed() {
        let secret = Secret(Zeroizing::new("hunter2".to_owned()));
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "[redacted] Some([redacted])"
        );
    }
}
