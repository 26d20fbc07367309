//! `tenant-kms config check FILE`: would the operator take this configuration? Never repeats a
//! value of a file that it refuses.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::policy;

/// Check a configuration file as the operator would read it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file, as given to the operator by --config
    file: PathBuf,
}

pub async fn run(args: Args) -> ExitCode {
    match policy::load(Some(&args.file)).await {
        Ok(policy) => {
            println!("{}: valid", args.file.display());
            print!("{}", policy.summary());
            ExitCode::SUCCESS
        }
        Err(invalid) => {
            eprintln!("{}: refused whole: {invalid}", args.file.display());
            ExitCode::FAILURE
        }
    }
}
