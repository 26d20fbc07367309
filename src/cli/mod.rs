//! The command line: one file for each subcommand. It parses, calls the library, and says how it
//! ended; nothing is decided here.

pub mod config_check;
pub mod crd;
pub mod explain;
pub mod keyring;
pub mod logs;
mod manifest;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
pub mod onboard;
pub mod openapi;
pub mod operator;
pub mod verify_file;

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
    /// Print the OpenAPI document of the agent API.
    Openapi,
    /// Prove the key of a TenantKms manifest without a cluster.
    Verify(verify_file::Args),
    /// Print what a customer runs to let the platform use a key, and the manifest to apply.
    #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
    Onboard {
        #[command(subcommand)]
        command: onboard::Command,
    },
    /// Back up, restore and hand over tenants' master keys, wrapped as they are.
    Keyring {
        #[command(subcommand)]
        command: keyring::Command,
    },
    /// Say what a reason means and how to fix it.
    Explain(explain::Args),
    /// Look after the operator's configuration file.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a configuration file.
    Check(config_check::Args),
}

pub async fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Operator(args) => operator::run(args).await,
        Command::Crd => crd::run(),
        Command::Openapi => openapi::run(),
        Command::Verify(args) => verify_file::run(args).await,
        #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
        Command::Onboard { command } => onboard::run(&command),
        Command::Keyring { command } => keyring::run(command).await,
        Command::Explain(args) => explain::run(args),
        Command::Config {
            command: ConfigCommand::Check(args),
        } => config_check::run(args).await,
    }
}
