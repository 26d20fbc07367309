//! `tenant-kms openapi`: prints the OpenAPI document of the agent API. Reads nothing, asks nobody.

use std::io::{self, Write};
use std::process::ExitCode;

/// Writes the JSON to standard output.
pub fn run() -> ExitCode {
    let text = crate::server::agent::openapi::text();
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // nobody reads
    }
}
