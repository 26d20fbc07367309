//! An image without a builder: files as one layer in an OCI layout, as one tar. For programs that
//! need nothing but themselves; what the Dockerfile builds has the same content.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::binary::hex;

/// A file in the image, and whether it can be executed.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub path: &'a str,
    pub content: Vec<u8>,
    pub program: bool,
}

/// Writes the image `name`, which runs its first file; the size of its content uncompressed.
pub(super) fn write(path: &Path, name: &str, entries: &[Entry<'_>]) -> Result<u64> {
    let mut layer = Tar(Vec::new());
    for entry in entries {
        let mode = if entry.program { 0o755 } else { 0o644 };
        layer.file(entry.path, mode, &entry.content)?;
    }
    let layer = layer.end()?;
    let entrypoint = entries.first().map(|entry| format!("/{}", entry.path));
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": { "User": "65532:65532", "Entrypoint": [entrypoint] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))] },
    })
    .to_string();
    let kind = |what: &str| format!("application/vnd.oci.image.{what}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind("manifest.v1+json"),
        "config": described(&kind("config.v1+json"), config.as_bytes()),
        "layers": [described(&kind("layer.v1.tar"), &layer)],
    })
    .to_string();
    let mut entry = described(&kind("manifest.v1+json"), manifest.as_bytes());
    entry["annotations"] = json!({
        "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name,
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": kind("index.v1+json"), "manifests": [entry],
    });

    let mut image = Tar(File::create(path)?);
    image.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    image.file("index.json", 0o644, index.to_string().as_bytes())?;
    for blob in [config.as_bytes(), manifest.as_bytes(), &layer] {
        image.file(&format!("blobs/sha256/{}", sha256(blob)), 0o644, blob)?;
    }
    image.end()?;
    Ok(layer.len().try_into()?)
}

/// A program with nothing beside it but the public CA roots, if it speaks to anybody.
pub(super) fn program(path: &Path, name: &str, program: &Path, roots: bool) -> Result<u64> {
    let own = program.file_name().unwrap_or_default().to_string_lossy();
    let mut entries = vec![Entry {
        path: &own,
        content: fs::read(program)?,
        program: true,
    }];
    if roots {
        entries.push(Entry {
            path: "etc/ssl/certs/ca-certificates.crt",
            content: fs::read("/etc/ssl/certs/ca-certificates.crt")?,
            program: false,
        });
    }
    write(path, name, &entries)
}

fn described(kind: &str, content: &[u8]) -> Value {
    json!({
        "mediaType": kind, "size": content.len(), "digest": format!("sha256:{}", sha256(content)),
    })
}

fn sha256(content: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, content).as_ref())
}

/// The simplest tar there is (ustar): files with short names, owned by root, without a time, so
/// that the same files are the same image.
struct Tar<W: Write>(W);

impl<W: Write> Tar<W> {
    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = [0; 512];
        let mut field = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        field(0, path);
        field(100, &format!("{mode:07o}"));
        field(108, "0000000");
        field(116, "0000000");
        field(124, &format!("{:011o}", content.len()));
        field(136, "00000000000");
        field(148, "        "); // the sum is over these
        field(156, "0");
        field(257, "ustar");
        field(263, "00");
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.write_all(&header)?;
        self.0.write_all(content)?;
        self.0
            .write_all(&[0; 512][..content.len().next_multiple_of(512) - content.len()])
    }

    fn end(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 1024])?;
        self.0.flush()?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Entry, write};

    /// Read back by the tar of the machine, which nobody here wrote.
    #[test]
    fn an_image_is_a_tar_of_blobs() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("image.tar");
        let entry = Entry {
            path: "program",
            content: vec![7; 1000],
            program: true,
        };
        assert_eq!(
            write(&path, "localhost/some:1", &[entry])?,
            512 + 1024 + 1024
        );
        let listed = Command::new("tar").arg("-tf").arg(&path).output()?;
        assert!(listed.status.success(), "{listed:?}");
        let listed = String::from_utf8(listed.stdout)?;
        assert!(listed.starts_with("oci-layout\nindex.json\nblobs/sha256/"));
        assert_eq!(listed.lines().count(), 5);
        Ok(())
    }
}
