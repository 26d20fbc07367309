//! `tenant-kms keyring export|import|adopt`: master keys, wrapped, between records and files. With the
//! rights of whoever calls it, never the operator's; no key service is asked and no key opened.

mod adopt;
pub mod decide;
pub mod document;
mod export;
mod import;
mod place;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Subcommand;

use self::place::Problem;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a tenant's master keys, wrapped as they are, to a file.
    Export(export::Args),
    /// Put the master keys of such a file on record: in another cluster, or where they were lost.
    Import(import::Args),
    /// Let the present namespace have the record of its deleted forerunner of the same name.
    Adopt(adopt::Args),
}

/// Exit code 0: done, or nothing was to be done. 1: refused, and nothing was changed.
pub async fn run(command: Command) -> ExitCode {
    let done: Result<(), Problem> = match command {
        Command::Export(args) => export::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Adopt(args) => adopt::run(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
