//! Keeps the policy equal to the file. A file that cannot be read or understood changes nothing:
//! the policy in force stays, and the fault is told once per content.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::{Invalid, Policy, parse};

/// Where the chart mounts it. Looked for when the command line names none; absent means nothing is allowed.
pub const DEFAULT_PATH: &str = "/etc/tenant-kms/config/config.yaml";

/// The content is compared, not the time of change: `ConfigMap` mounts swap a symlink.
const EVERY: Duration = Duration::from_secs(2);

const MAX_BYTES: u64 = 1024 * 1024;

/// The policy in force, and what is wrong with the file now (`None`: nothing).
#[derive(Clone, Debug)]
pub struct Watched {
    pub policy: watch::Receiver<Arc<Policy>>,
    pub fault: watch::Receiver<Option<String>>,
}

/// Reads a file once: for commands that end.
pub async fn load(path: Option<&Path>) -> Result<Policy, Invalid> {
    match (read(path.unwrap_or(Path::new(DEFAULT_PATH))).await?, path) {
        (Some(text), _) => parse(&text),
        (None, None) => Ok(Policy::default()),
        (None, Some(path)) => Err(missing(path)),
    }
}

/// Reads the file and keeps looking until every receiver is dropped. `None` is
/// [`DEFAULT_PATH`], which may be absent; a path that was named must exist and hold.
pub async fn watch(path: Option<PathBuf>) -> Result<Watched, Invalid> {
    let named = path.is_some();
    let path = path.unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
    let seen = read(&path).await?;
    let first = match &seen {
        Some(text) => parse(text)?,
        None if named => return Err(missing(&path)),
        None => Policy::default(),
    };
    tell(&path, &first);
    let (policy, policies) = watch::channel(Arc::new(first));
    let (fault, faults) = watch::channel(None);
    tokio::spawn(follow(path, named, seen, policy, fault));
    Ok(Watched {
        policy: policies,
        fault: faults,
    })
}

fn tell(path: &Path, policy: &Policy) {
    tracing::info!(path = %path.display(), "configuration read");
    let limits = policy.unenforced();
    if !limits.is_empty() {
        tracing::warn!(
            ?limits,
            "the configuration has limits that are not enforced yet"
        );
    }
}

async fn follow(
    path: PathBuf,
    named: bool,
    seen: Option<String>,
    policy: watch::Sender<Arc<Policy>>,
    fault: watch::Sender<Option<String>>,
) {
    let mut seen: Result<Option<String>, Invalid> = Ok(seen);
    loop {
        tokio::select! {
            () = policy.closed() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let now = read(&path).await;
        if now == seen {
            continue;
        }
        let next = match &now {
            Ok(Some(text)) => parse(text),
            // A file that went away is a fault, not a wish that nothing be allowed.
            Ok(None) if named || policy.borrow().as_ref() != &Policy::default() => {
                Err(missing(&path))
            }
            Ok(None) => Ok(Policy::default()),
            Err(invalid) => Err(invalid.clone()),
        };
        seen = now;
        match next {
            Ok(next) => {
                tell(&path, &next);
                policy.send_if_modified(|held| {
                    let changed = **held != next;
                    if changed {
                        *held = Arc::new(next);
                    }
                    changed
                });
                fault.send_if_modified(|held| held.take().is_some());
            }
            Err(invalid) => {
                tracing::error!(
                    path = %path.display(), error = %invalid,
                    "configuration refused whole; the previous one stays in force"
                );
                fault.send_replace(Some(invalid.to_string()));
            }
        }
    }
}

fn missing(path: &Path) -> Invalid {
    Invalid::new(format!("{} does not exist", path.display()))
}

/// The file's text; `None` when there is no such file.
async fn read(path: &Path) -> Result<Option<String>, Invalid> {
    let unreadable = |error: std::io::Error| {
        Invalid::new(format!(
            "{} cannot be read: {}",
            path.display(),
            error.kind()
        ))
    };
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Invalid::new(format!("{} is over 1 MiB", path.display())));
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| Invalid::new(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n";
    const TWO: &str = "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n\
                       allowedEndpointSuffixes: [kv.example.test]\n";

    #[tokio::test(start_paused = true)]
    async fn a_change_is_taken_up_and_a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, ONE).expect("write");
        let mut watched = watch(Some(path.clone())).await.expect("valid");
        assert!(watched.policy.borrow().endpoint_suffixes().is_empty());

        std::fs::write(&path, TWO).expect("write");
        watched.policy.changed().await.expect("change");
        assert_eq!(
            watched.policy.borrow_and_update().endpoint_suffixes(),
            ["kv.example.test"]
        );

        std::fs::write(&path, "kind: hunter2").expect("write");
        watched.fault.changed().await.expect("fault");
        let fault = watched.fault.borrow_and_update().clone().expect("a fault");
        assert!(!fault.contains("hunter2"), "{fault}");
        assert!(!watched.policy.has_changed().expect("open"));

        std::fs::remove_file(&path).expect("remove");
        watched.fault.changed().await.expect("fault");
        assert!(watched.fault.borrow_and_update().is_some());
        assert_eq!(
            watched.policy.borrow().endpoint_suffixes(),
            ["kv.example.test"]
        );

        std::fs::write(&path, ONE).expect("write");
        watched.policy.changed().await.expect("change");
        assert_eq!(*watched.fault.borrow(), None);
    }

    /// As the kubelet does it: a folder per content, and a link that is swapped.
    #[tokio::test(start_paused = true)]
    async fn a_mounted_config_map_is_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("..1", ONE), ("..2", TWO)] {
            std::fs::create_dir(at(name)).expect("create");
            std::fs::write(at(name).join("config.yaml"), text).expect("write");
        }
        symlink("..1", at("..data")).expect("link");
        symlink("..data/config.yaml", at("config.yaml")).expect("link");
        let mut watched = watch(Some(at("config.yaml"))).await.expect("valid");

        symlink("..2", at("..tmp")).expect("link");
        std::fs::rename(at("..tmp"), at("..data")).expect("swap");
        watched.policy.changed().await.expect("change");
        let policy = watched.policy.borrow().clone();
        assert_eq!(policy.endpoint_suffixes(), ["kv.example.test"]);
    }

    #[tokio::test]
    async fn a_named_file_must_exist() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("absent.yaml");
        assert!(watch(Some(path.clone())).await.is_err());
        assert!(load(Some(&path)).await.is_err());
    }
}
