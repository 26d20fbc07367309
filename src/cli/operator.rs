//! `tenant-kms operator`: watches `TenantKms` objects until it is told to stop.

mod ownership;
mod prepare;
mod running;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::controller;
use crate::policy;
use crate::random;
use crate::server::agent::start as agent;
use crate::server::tls;
use running::Running;

/// How long a stop may take before the process ends all the same.
const STOP: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration file: which tenants may use which credentials. Without it nothing of
    /// the platform's may be used.
    #[arg(long, value_name = "FILE", env = "TENANT_KMS_CONFIG")]
    config: Option<PathBuf>,
    /// Where the records are kept.
    #[arg(
        long,
        value_name = "NS",
        env = "TENANT_KMS_RECORDS_NAMESPACE",
        default_value = "tenant-kms-records"
    )]
    records_namespace: String,
    /// The namespaces to watch, separated by commas; all when absent.
    #[arg(
        long,
        value_name = "NS,…",
        env = "TENANT_KMS_WATCH_NAMESPACES",
        value_delimiter = ','
    )]
    watch_namespaces: Vec<String>,
    /// The name of this installation; two installations never share an object.
    #[arg(
        long,
        value_name = "NAME",
        env = "TENANT_KMS_INSTALLATION",
        default_value = "default"
    )]
    installation: String,
    /// A folder with one file per client secret, named as the variable.
    #[arg(long, value_name = "DIR", env = "TENANT_KMS_SECRET_ENV_DIR")]
    secret_env_dir: Option<PathBuf>,
    /// A folder with the keys of the platform itself: NAME.1, NAME.2, … are the versions of
    /// `local://NAME`.
    #[arg(long, value_name = "DIR", env = "TENANT_KMS_LOCAL_KEK_DIR")]
    local_kek_dir: Option<PathBuf>,
    /// Where the agent API is served, over TLS. Without it no session is given here.
    #[arg(long, value_name = "ADDR", env = "TENANT_KMS_LISTEN")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    tls: tls::Options,
    /// Where health and metrics are served.
    #[arg(
        long,
        value_name = "ADDR",
        env = "TENANT_KMS_METRICS_LISTEN",
        default_value = "[::]:8080"
    )]
    metrics_listen: SocketAddr,
    #[arg(
        long,
        value_enum,
        env = "TENANT_KMS_LOG_FORMAT",
        default_value = "json"
    )]
    log_format: super::logs::Format,
}

/// Why the operator did not start or did not go on.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("configuration file: {0}")]
    Policy(#[from] policy::Invalid),
    #[error(transparent)]
    Client(#[from] controller::ClientError),
    #[error(transparent)]
    Transport(#[from] crate::provider::connect::NoTransport),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("metrics address: {0}")]
    Listen(std::io::Error),
    #[error("agent API: {0}")]
    Agent(#[from] agent::StartError),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Random(#[from] random::Unavailable),
    #[error("--installation takes 1 to 32 of a-z, 0-9 and '-'")]
    Installation,
    #[error("a part of the operator ended by itself")]
    Ended,
}

pub async fn run(args: Args) -> ExitCode {
    super::logs::start(args.log_format);
    match operate(args).await {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(fatal) => {
            error!(error = %fatal, "the operator cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn check_installation(name: &str) -> Result<(), Fatal> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(Fatal::Installation)
    }
}

async fn operate(args: Args) -> Result<(), Fatal> {
    check_installation(&args.installation)?;
    let (stop, ending) = watch::channel(false);
    let prepared = prepare::prepare(&args).await?;
    let mut running = Running::start(prepared, &args, ending).await?;
    let ended = running.until_end().await;
    info!("stopping");
    stop.send_replace(true);
    if tokio::time::timeout(STOP, running.end()).await.is_err() {
        warn!("not everything ended in time");
    }
    ended
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_option_is_on_the_page() {
        let program = crate::cli::Cli::command();
        let operator = program.find_subcommand("operator").expect("a command");
        let page = include_str!("../../docs/configuration.md");
        for option in operator.get_arguments() {
            let name = option.get_long().expect("a long name");
            let variable = option.get_env().and_then(|name| name.to_str());
            let variable = variable.expect("a variable");
            let default = option.get_default_values().iter();
            let default = default.filter_map(|value| value.to_str());
            for word in [format!("--{name}").as_str(), variable]
                .into_iter()
                .chain(default)
            {
                assert!(page.contains(&format!("`{word}`")), "{word}");
            }
        }
    }
}
