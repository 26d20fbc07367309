//! `tenant-kms crd`: prints the `CustomResourceDefinition`. Reads nothing, asks nobody.

use std::io::{self, Write};

/// Writes the YAML to standard output.
pub fn run() -> io::Result<()> {
    io::stdout()
        .lock()
        .write_all(crate::api::crd::yaml().as_bytes())
}
