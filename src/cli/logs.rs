//! Where log lines go and how they look: JSON for machines, text for people. One line an event.

use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Json,
    Text,
}

/// Dependencies below `warn` say nothing: their debug lines may hold requests.
const DEFAULT: &str = "warn,tenant_kms=info";

/// Starts logging to standard error. `TENANT_KMS_LOG` takes a level (error, warn, info, debug)
/// for the operator's own lines.
pub fn start(format: Format) {
    let level = std::env::var("TENANT_KMS_LOG").unwrap_or_default();
    let own = ["error", "warn", "info", "debug"].contains(&level.as_str());
    let filter = if own {
        format!("warn,tenant_kms={level}")
    } else {
        DEFAULT.to_owned()
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr);
    match format {
        Format::Json => lines.json().flatten_event(true).init(),
        Format::Text => lines.with_ansi(false).init(),
    }
}
