//! `tenant-kms verify -f FILE`: the probe without a cluster, with the operator's own code, policy
//! and credentials. It prints what the operator would conclude, and stores nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::manifest;
use crate::api::Reason;
use crate::credentials::{AzureIdentity, SecretSource};
use crate::policy;
use crate::provider::probe::{Step, probe_observed};
use crate::provider::{Anchor, Failure, Proved, Providers};

/// Probe the key of a manifest: wrap, unwrap, compare
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A manifest with one `TenantKms`; `-` is standard input
    #[arg(short, long)]
    file: PathBuf,
    /// The operator's configuration file
    #[arg(long, env = "TENANT_KMS_CONFIG")]
    config: Option<PathBuf>,
    /// A folder whose files are client secrets, named as their variables
    #[arg(long, env = "TENANT_KMS_SECRET_ENV_DIR")]
    secret_env_dir: Option<PathBuf>,
    /// A folder whose files NAME.1, NAME.2, … are the versions of `local://NAME`
    #[arg(long, env = "TENANT_KMS_LOCAL_KEK_DIR")]
    local_kek_dir: Option<PathBuf>,
    #[arg(short, long, default_value = "text")]
    output: Output,
    /// The namespace where the manifest names none
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What came of it. The shape is an interface: scripts read it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    ok: bool,
    tenant: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kek_version: Option<String>,
    steps: Vec<StepReport>,
}

#[derive(Debug, Serialize)]
struct StepReport {
    name: &'static str,
    milliseconds: u64,
    ok: bool,
}

/// What a probe without a record is bound to.
const VERIFYING: &str = "verify";

/// Exit code 0: the key can be used. 1: it cannot, as the report says. 2: nothing was tried.
pub async fn run(args: Args) -> ExitCode {
    match report(&args).await {
        Ok(report) => {
            let without = args.config.is_none() && !Path::new(policy::DEFAULT_PATH).exists();
            if without && report.reason == Reason::NotAllowed.name() {
                eprintln!(
                    "Without --config nothing is allowed (default deny): give the operator's \
                     configuration file."
                );
            }
            match args.output {
                Output::Text => print_text(&report),
                Output::Json => match serde_json::to_string_pretty(&report) {
                    Ok(json) => println!("{json}"),
                    Err(error) => eprintln!("the report cannot be written: {error}"),
                },
            }
            ExitCode::from(u8::from(!report.ok))
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}

async fn report(args: &Args) -> Result<Report, String> {
    let (tenant, spec) = manifest::read(&args.file, &args.namespace)?;
    let policy = policy::load(args.config.as_deref()).await;
    let policy = policy.map_err(|invalid| format!("the configuration is refused: {invalid}"))?;
    let identity = AzureIdentity::from_environment(policy.own_azure());
    let (_keep, policy) = watch::channel(Arc::new(policy));
    let secrets = SecretSource::new(args.secret_env_dir.clone());
    let providers = Providers::new(policy, secrets, identity).map_err(|e| e.to_string())?;
    let providers = providers.with_local_keks(args.local_kek_dir.clone());

    let mut report = Report {
        tenant: tenant.to_string(),
        ..Report::default()
    };
    let begun = Instant::now();
    let connected = providers
        .connect(&tenant, &spec, &Anchor::default(), true)
        .await;
    report.step("resolve", begun.elapsed(), connected.is_ok());
    let outcome = match connected {
        Err(failure) => Err(failure),
        Ok(kms) => {
            report.key_id = Some(kms.key_id().to_owned());
            report.identity = Some(kms.identity().to_owned());
            // No record, no tenant uid: what is wrapped here is thrown away.
            probe_observed(kms.as_ref(), VERIFYING, |step, took, failure| {
                let name = match step {
                    Step::Wrap => "token+wrap",
                    Step::Unwrap => "unwrap",
                };
                report.step(name, took, failure.is_none());
            })
            .await
        }
    };
    report.conclude(outcome);
    Ok(report)
}

impl Report {
    fn step(&mut self, name: &'static str, took: Duration, ok: bool) {
        self.steps.push(StepReport {
            name,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ok,
        });
    }

    fn conclude(&mut self, outcome: Result<Proved, Failure>) {
        match outcome {
            Ok(proved) => {
                self.ok = true;
                self.reason = Reason::Verified.name();
                "the key wrapped and unwrapped".clone_into(&mut self.message);
                self.kek_version = Some(proved.kek_version);
            }
            Err(failure) => {
                let failure = failure.into_details();
                self.reason = failure.reason.name();
                self.kind = Some(failure.kind.name());
                self.code = failure.code.map(|code| code.as_str().to_owned());
                self.request_id = failure.request_id.map(|id| id.as_str().to_owned());
                self.retry_after_seconds = failure.retry_after.map(|after| after.as_secs());
                self.message = failure.message;
            }
        }
    }
}

fn print_text(report: &Report) {
    println!("tenant    {}", report.tenant);
    for (name, value) in [
        ("key", &report.key_id),
        ("identity", &report.identity),
        ("version", &report.kek_version),
    ] {
        if let Some(value) = value {
            println!("{name:<9} {value}");
        }
    }
    for step in &report.steps {
        let outcome = if step.ok { "ok" } else { "failed" };
        println!("{:<11} {:>6} ms  {outcome}", step.name, step.milliseconds);
    }
    let kind = report
        .kind
        .map(|kind| format!(" ({kind})"))
        .unwrap_or_default();
    println!("{}{kind}: {}", report.reason, report.message);
    for (name, value) in [("code", &report.code), ("request id", &report.request_id)] {
        if let Some(value) = value {
            println!("{name}: {value}");
        }
    }
}
