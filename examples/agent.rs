//! A whole workload: it keeps records of one tenant in a folder, encrypted, and reads them back, for as
//! long as the tenant's customer agrees. Sealed, it says so once, serves nothing and asks again; when
//! the customer agrees again it goes on by itself. One line of JSON for each event, on standard output.
//!
//! | Variable | |
//! |---|---|
//! | `TENANT_KMS_URL` | the operator's Service, `https://HOST[:PORT]` |
//! | `TENANT` | `namespace/name` of the `TenantKms` |
//! | `TOKEN_FILE` | the projected token of audience `tenantkms.dev` |
//! | `CA_FILE` | `ca.crt` of the `ConfigMap` `tenant-kms-ca` |
//! | `DATA_DIR` | where the records are |
//! | `INTERVAL` | seconds between rounds; 5 when absent |

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tenant_kms::client::{Backoff, Category, Client, Error, Options};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

/// What held a record in the clear is overwritten when it is freed, also in libraries.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The newest are kept.
const RECORDS: usize = 20;

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Refused(#[from] Error),
    #[error("the folder of the records: {0}")]
    Folder(#[from] std::io::Error),
    #[error("the record {0} is not what was written")]
    Wrong(String),
}

struct Agent {
    client: Client,
    tenant: String,
    folder: PathBuf,
    interval: Duration,
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("the variable {name} is not set"))
}

impl Agent {
    fn from_environment() -> Result<Self, String> {
        let seconds = variable("INTERVAL").unwrap_or_else(|_| "5".to_owned());
        let seconds = seconds
            .parse()
            .map_err(|_| "INTERVAL must be a number of seconds")?;
        let options = Options {
            url: variable("TENANT_KMS_URL")?,
            token_file: variable("TOKEN_FILE")?.into(),
            ca_file: variable("CA_FILE")?.into(),
            ..Options::default()
        };
        Ok(Self {
            client: Client::new(options).map_err(|error| error.to_string())?,
            tenant: variable("TENANT")?,
            folder: variable("DATA_DIR")?.into(),
            interval: Duration::from_secs(seconds),
        })
    }

    /// Goes on until it is dropped. A change for the worse or the better is one line.
    async fn run(&self) {
        let tenant = &*self.tenant;
        // Sealed, it asks less often, but never less than once in six rounds.
        let mut backoff = Backoff::new(Duration::from_secs(1), 6 * self.interval);
        let mut trouble: Option<(&str, Instant)> = None;
        loop {
            let mut pause = self.interval;
            match self.round().await {
                Ok(records) => {
                    backoff.reset();
                    if let Some((was, since)) = trouble.take() {
                        let event = if was == "sealed" {
                            "unsealed"
                        } else {
                            "recovered"
                        };
                        let seconds = since.elapsed().as_secs();
                        info!(
                            event,
                            tenant, records, seconds, "all records can be read again"
                        );
                    }
                }
                Err(cause) => {
                    if let Trouble::Refused(error) = &cause {
                        pause = backoff.after(error);
                    }
                    let event = name(&cause);
                    // Sealed until the customer is heard to agree again.
                    let told = trouble.is_some_and(|(was, _)| {
                        was == event || (was == "sealed" && event == "unavailable")
                    });
                    if !told {
                        tell(event, tenant, &cause);
                        trouble = Some((event, Instant::now()));
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Writes one record and reads all. What is on disk was never there in the clear.
    async fn round(&self) -> Result<usize, Trouble> {
        let mut names = self.names().await?;
        let number = names.last().and_then(|last| last.get(7..13)?.parse().ok());
        let name = format!("record-{:06}.tkm", number.unwrap_or(0) + 1);
        let (tenant, text) = (&*self.tenant, format!("this is {name} of {}", self.tenant));
        // The name as additional data: no record can be put in the place of another.
        let sealed = self
            .client
            .encrypt(tenant, text.as_bytes(), name.as_bytes())
            .await?;
        let new = self.folder.join("new");
        tokio::fs::write(&new, &sealed.bytes).await?;
        tokio::fs::rename(&new, self.folder.join(&name)).await?;
        info!(
            event = "written",
            tenant,
            record = name,
            key_id = sealed.key_id,
            "encrypted"
        );
        names.push(name);
        for old in names.drain(..names.len().saturating_sub(RECORDS)) {
            tokio::fs::remove_file(self.folder.join(old)).await?;
        }
        for name in &names {
            let bytes = tokio::fs::read(self.folder.join(name)).await?;
            let text = self.client.decrypt(tenant, &bytes, name.as_bytes()).await?;
            if **text != *format!("this is {name} of {tenant}").as_bytes() {
                return Err(Trouble::Wrong(name.clone()));
            }
        }
        info!(event = "read", tenant, records = names.len(), "decrypted");
        Ok(names.len())
    }

    /// The oldest first.
    async fn names(&self) -> Result<Vec<String>, std::io::Error> {
        let mut names = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("record-") {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

fn name(cause: &Trouble) -> &'static str {
    let Trouble::Refused(error) = cause else {
        return "failed";
    };
    match error.category() {
        Category::Sealed => "sealed",
        Category::Unavailable => "unavailable",
        Category::Denied => "denied",
        Category::Invalid => "invalid",
    }
}

fn tell(event: &str, tenant: &str, cause: &Trouble) {
    match event {
        "sealed" => warn!(
            event,
            tenant,
            error = %cause,
            "the customer does not agree any more: nothing is read or written until it does; the \
             records stay, encrypted"
        ),
        "unavailable" => warn!(event, tenant, error = %cause, "not to be had now; tried again"),
        _ => error!(event, tenant, error = %cause, "a person must act; tried again"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tenant_kms::memory::protect();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(EnvFilter::new("warn,agent=info,tenant_kms=info"))
        .with_writer(std::io::stdout)
        .init();
    let (agent, terminate) = (Agent::from_environment(), signal(SignalKind::terminate()));
    let (agent, mut terminate) = match (agent, terminate) {
        (Ok(agent), Ok(terminate)) => (agent, terminate),
        (agent, terminate) => {
            let why = agent
                .err()
                .or(terminate.err().map(|error| error.to_string()));
            error!(event = "failed", error = why, "not started");
            return ExitCode::FAILURE;
        }
    };
    info!(event = "started", tenant = agent.tenant, "started");
    tokio::select! {
        () = agent.run() => {}
        _ = terminate.recv() => {}
    }
    info!(event = "stopped", tenant = agent.tenant, "stopped as asked");
    ExitCode::SUCCESS
}
