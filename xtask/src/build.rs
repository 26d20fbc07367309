//! Building what the other commands run, and where the results are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

/// The folder of the debug programs: this one's own, whatever the target folder is called.
pub fn debug() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program")?;
    let folder = own.parent().context("this program is in no folder")?;
    Ok(folder.to_path_buf())
}

/// The folder of the release programs.
pub fn release() -> Result<PathBuf> {
    Ok(debug()?.with_file_name("release"))
}

/// The repository's root folder.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// Writes a generated file of the repository, and says whether that changed it.
pub fn write(place: &str, text: &str) -> Result<()> {
    let path = root().join(place);
    let unchanged = fs::read_to_string(&path).is_ok_and(|before| before == text);
    fs::write(&path, text).with_context(|| format!("write {place}"))?;
    let word = if unchanged { "unchanged" } else { "written" };
    println!("{word}: {place}");
    Ok(())
}

/// The programs that a person runs, with the control plane they run against.
pub fn programs() -> Result<()> {
    let args = ["build", "--workspace", "--bins", "--examples"];
    step::run("building", step::cargo(&args))?;
    control_plane(&debug()?)
}

/// The control plane's program, by the harness that is built in this folder.
pub fn control_plane(folder: &Path) -> Result<()> {
    let program = Command::new(folder.join("controlplane-build"));
    step::run("the control plane's program", program)
}
