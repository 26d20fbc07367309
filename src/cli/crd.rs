//! `tenant-kms crd`: prints the CustomResourceDefinition. Reads nothing, asks nobody.

use std::io::{self, Write};
use std::process::ExitCode;

/// Writes the YAML to standard output.
pub fn run() -> ExitCode {
    let yaml = crate::api::crd::yaml();
    match io::stdout().lock().write_all(yaml.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // nobody reads
    }
}
