//! The command line: one file for each subcommand. It parses, calls the library, and says how it
//! ended; nothing is decided here.

pub mod crd;
pub mod logs;
mod manifest;
pub mod operator;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Bring-your-own-key for multi-tenant platforms on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "tenant-kms", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch TenantKms objects and keep each proved.
    Operator(operator::Args),
    /// Print the CustomResourceDefinition.
    Crd,
}

pub async fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Operator(args) => operator::run(args).await,
        Command::Crd => crd::run(),
    }
}
