//! `cargo xtask image`: builds the Dockerfile and looks at what is in the image. It publishes nothing;
//! a release is one `docker buildx build --push`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::{build, step, tools};

/// The promise of docs/verify-image.md for the whole image, uncompressed.
const LIMIT: u64 = 30 * 1024 * 1024;
/// All that is in the image: neither a shell nor a package manager, nor anything that is loaded.
const FILES: [&str; 3] = ["etc/ssl/certs/ca-certificates.crt", "tenant-kms", SBOM];
const SBOM: &str = "usr/share/sbom/tenant-kms.cdx.json";
/// From the list in the program and from Debian: an SBOM without one of them lists only the other half.
const LISTED: [&str; 2] = ["pkg:cargo/aws-lc-sys@", "pkg:deb/debian/libc6-dev@"];

/// The options go to the builder as they are: `--platform linux/arm64`, `--build-arg RUST_IMAGE=…`.
pub fn run(options: &[&str]) -> Result<ExitCode> {
    let folder = build::debug()?.with_file_name("image-content");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    let mut builder = builder()?;
    builder
        .args(["--output", &format!("type=local,dest={}", folder.display())])
        .args(options)
        .arg(build::root());
    step::run("building the image", builder)?;
    step::heading("what is in it");
    let mut files = Vec::new();
    list(&folder, &folder, &mut files)?;
    files.sort();
    for (path, bytes) in &files {
        println!("{bytes:>10} {}", path.display());
    }
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    println!("{bytes:>10} in all");
    ensure!(bytes < LIMIT, "the image has more than {LIMIT} bytes");
    ensure!(
        files.iter().map(|(path, _)| path).eq(FILES.map(Path::new)),
        "the image has other files than {FILES:?}"
    );
    let sbom = fs::read_to_string(folder.join(SBOM)).context("read the SBOM")?;
    for part in LISTED {
        ensure!(sbom.contains(part), "the SBOM does not list {part}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Docker where its engine answers, else buildah without an engine.
fn builder() -> Result<Command> {
    if tools::said("docker", &["version", "--format", "{{.Server.Version}}"]).is_some() {
        return Ok(step::command("docker", &["buildx", "build"]));
    }
    if tools::said("buildah", &["--version"]).is_some() {
        let args = ["build", "--layers", "--isolation", "chroot"];
        return Ok(step::command("buildah", &args));
    }
    bail!("neither a Docker engine with buildx nor buildah was found: one of them builds the image")
}

/// Every file below the folder, by its path in the image. A link counts as a file of no size.
fn list(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(root, &entry.path(), files)?;
        } else {
            let bytes = if kind.is_file() {
                entry.metadata()?.len()
            } else {
                0
            };
            files.push((entry.path().strip_prefix(root)?.to_path_buf(), bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cargo reads the manifest of every member, whichever it builds.
    #[test]
    fn every_member_of_the_workspace_reaches_the_builder() {
        let read = |file: &str| fs::read_to_string(build::root().join(file)).expect(file);
        let manifest = read("Cargo.toml");
        let members = manifest
            .split_once("members = [")
            .and_then(|(_, rest)| rest.split_once(']'))
            .expect("members")
            .0;
        let (dockerfile, context) = (read("Dockerfile"), read(".dockerignore"));
        let empty = dockerfile
            .lines()
            .find_map(|line| line.split_once("for member in ")?.1.split_once(';'))
            .expect("empty sources")
            .0;
        for member in members.split(',').map(|one| one.trim().trim_matches('"')) {
            assert!(
                empty.split(' ').any(|one| one == member),
                "{member}: {empty}"
            );
            if member != "." {
                let copied = format!("COPY {member}/Cargo.toml {member}/\n");
                assert!(dockerfile.contains(&copied), "no {copied}");
                let let_in = format!("!{member}/Cargo.toml\n");
                assert!(context.contains(&let_in), "no {let_in}");
            }
        }
    }
}
