//! What a node leaves behind when the program that made it is killed: a folder, and cgroups with
//! nothing in them. The next node removes them. It must never touch what could be anybody else's:
//! a folder says whose it is by its name and by a lock that ends with its owner.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::cgroups;
use crate::heartbeat::say;

const PREFIX: &str = "tenant-kms-node-";
const LOCK: &str = "owner";

/// A node's folder for temporary files; what is killed in there removes nothing. Its name is the
/// node's too, and nobody had it before.
#[derive(Debug)]
pub(super) struct Folder {
    dir: TempDir,
    /// Held, not read: the kernel lets go of it however this process ends.
    _lock: File,
}

impl Folder {
    pub(super) fn new() -> Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let unfinished = dir.path().join("unfinished");
        let lock = File::create(&unfinished)?;
        lock.try_lock().context("a new file is locked")?;
        // Under this name it was never seen without its lock.
        fs::rename(unfinished, dir.path().join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn name(&self) -> String {
        let name = self.path().file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// Removes what killed programs left; what cannot be removed is said and left alone.
pub(super) fn remove() {
    if let Err(error) = remove_in(&std::env::temp_dir()) {
        say(&format!("looking for what a killed node left: {error:#}"));
    }
}

fn remove_in(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !is_dead(&entry.path(), &entry.file_name()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        // Its last processes may still be ending: that is waited for.
        let removed = cgroups::remove(&name)
            .and_then(|()| fs::remove_dir_all(entry.path()).context("its folder"));
        match removed {
            Ok(()) => say(&format!("removed what {name} left, which was killed")),
            Err(error) => say(&format!("{name} was killed, and stays: {error:#}")),
        }
    }
    Ok(())
}

/// Whether this is a node's folder, made by this user, whose owner has ended.
fn is_dead(path: &Path, name: &OsStr) -> bool {
    let own = fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
    let named = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
    own && named && is_unlocked(&path.join(LOCK)).unwrap_or(false)
}

fn is_unlocked(path: &Path) -> io::Result<bool> {
    Ok(File::open(path)?.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nobodys_is_removed() -> Result<()> {
        let parent = tempfile::tempdir()?;
        let living = Folder::within(parent.path())?;
        let Folder { dir, _lock: lock } = Folder::within(parent.path())?;
        let dead = dir.keep();
        let unsaid = parent.path().join(format!("{PREFIX}unsaid"));
        let foreign = parent.path().join("somebody-elses");
        for folder in [&unsaid, &foreign] {
            fs::create_dir(folder)?;
        }
        fs::write(foreign.join(LOCK), "")?;
        remove_in(parent.path())?;
        assert!(dead.exists(), "its owner still holds the lock");
        // As when its owner ends. Closing is not enough here: a process that another test starts at
        // this moment has the file too, until it runs its own program.
        lock.unlock()?;
        remove_in(parent.path())?;
        assert!(!dead.exists());
        for folder in [living.path(), &unsaid, &foreign] {
            assert!(folder.exists(), "{}", folder.display());
        }
        Ok(())
    }
}
