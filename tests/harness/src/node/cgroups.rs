//! The cgroup that everything on a node is below, in every hierarchy there is. Namespaces do not
//! take cgroups with them: whoever started the node removes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const ROOT: &str = "/sys/fs/cgroup";

/// The cgroup of that name, whether it exists or not; version 1 has one for each controller.
fn places(name: &str) -> Result<Vec<PathBuf>> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return Ok(vec![Path::new(ROOT).join(name)]);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?;
        (kind.starts_with("cgroup") && point.starts_with(ROOT)).then(|| Path::new(point).join(name))
    });
    Ok(mounted.collect())
}

pub(super) fn make(name: &str) -> Result<()> {
    let places = places(name)?;
    if places.is_empty() {
        bail!("no cgroups are mounted below {ROOT}");
    }
    for place in places {
        fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
    }
    Ok(())
}

/// Removes them all, once the last process in them has gone.
pub(super) fn remove(name: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    for place in places(name)? {
        while let Err(error) = remove_tree(&place) {
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("remove {}", place.display()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn remove_tree(place: &Path) -> Result<()> {
    if !place.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(fs::remove_dir(place)?)
}
