//! Every answer of Entra, the metadata services, Key Vault, STS and KMS, and of Google's services, through the real
//! binary: which
//! reason, whether it is a denial, what the reader is told to do, and what was sent at all. No
//! output may hold a secret or a token that a cloud saw.

#![allow(clippy::too_many_lines, reason = "tables, read from top to bottom")]

mod aws;
mod entra;
mod gcp;
mod imds;
mod local;
mod vault;
mod wire;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fakecloud::{Application, Directory, FakeCloud, Key, Scope, Vault};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
const CLIENT: &str = "11112222-3333-4444-5555-666677778888";
const VARIABLE: &str = "AZURE_KC_CLIENT_SECRET";
const SECRET: &str = "Zq8~Q.canary-of-the-client-secret-value";
const KEY: &str = "https://acme-kv.vault.azure.net/keys/wrap";
const VAULT_HOST: &str = "acme-kv.vault.azure.net";
/// Longer than every deadline in the product together.
const LIMIT: Duration = Duration::from_mins(1);

/// A customer whose key works, with a client secret; a row changes one thing.
struct Customer {
    cloud: FakeCloud,
    directory: Directory,
    app: Application,
    vault: Vault,
    key: Key,
    provider: &'static str,
    key_ref: String,
    /// The rest of the spec, as YAML lines.
    spec: String,
    config: String,
    /// Content of the file named [`VARIABLE`] in the secret directory, if there is one.
    secret: Option<String>,
    /// Over and above the cloud's.
    env: Vec<(String, String)>,
}

impl Customer {
    async fn new() -> Result<Self> {
        let cloud = FakeCloud::start().await?;
        let directory = cloud.directory(DIRECTORY);
        let app = directory.application(CLIENT);
        app.add_secret(SECRET);
        let vault = cloud.vault("acme-kv", &directory);
        let key = vault.create_key("wrap");
        vault.grant(app.principal(), Scope::Vault);
        Ok(Self {
            cloud,
            directory,
            app,
            vault,
            key,
            provider: "azure",
            key_ref: KEY.to_owned(),
            spec: with_secret(DIRECTORY, CLIENT, VARIABLE),
            config: config(&format!(
                "clientSecretVariables: [{{ name: {VARIABLE}, tenants: [tenants/acme] }}]"
            )),
            secret: Some(format!("{SECRET}\n")),
            env: Vec::new(),
        })
    }

    /// Without credential fields, and allowed for this key.
    fn with_own_identity(&mut self) {
        self.spec.clear();
        self.config = config(&format!(
            "operatorIdentity: {{ allow: [{{ tenants: ['tenants/*'], keys: ['{KEY}'] }}] }}"
        ));
    }

    /// Runs `verify` and gives its report, after the canary was looked for in all it wrote.
    async fn verify(&self) -> Result<Value> {
        let folder = TempDir::new()?;
        let (manifest, config) = (
            folder.path().join("tenant.yaml"),
            folder.path().join("config.yaml"),
        );
        let secrets = folder.path().join("secrets");
        std::fs::create_dir(&secrets)?;
        std::fs::write(&config, &self.config)?;
        std::fs::write(
            &manifest,
            format!(
                "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\n\
                 metadata: {{ name: acme, namespace: tenants }}\n\
                 spec:\n  provider: {}\n  kmsKeyRef: {}\n{}",
                self.provider,
                serde_json::to_string(&self.key_ref)?,
                self.spec
            ),
        )?;
        if let Some(secret) = &self.secret {
            std::fs::write(secrets.join(VARIABLE), secret)?;
        }
        let child = Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
            .args(["verify", "--output", "json", "--file"])
            .arg(&manifest)
            .arg("--config")
            .arg(&config)
            .arg("--secret-env-dir")
            .arg(&secrets)
            .env_clear()
            .envs(self.cloud.env())
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .context("no end within a minute")??;
        let (out, err) = (
            String::from_utf8(output.stdout)?,
            String::from_utf8(output.stderr)?,
        );
        for secret in self
            .cloud
            .issued()
            .iter()
            .map(String::as_str)
            .chain([SECRET])
        {
            ensure!(
                !out.contains(secret) && !err.contains(secret),
                "a secret or token was written"
            );
        }
        let harmless = |c: char| c == '\n' || !c.is_control();
        ensure!(
            out.chars().chain(err.chars()).all(harmless),
            "control characters were written"
        );
        let report: Value =
            serde_json::from_str(&out).with_context(|| format!("no report but: {out}{err}"))?;
        let code = i32::from(report["ok"] != true);
        ensure!(
            output.status.code() == Some(code),
            "exit status {} for {out}",
            output.status
        );
        Ok(report)
    }
}

/// `spec.azure` with a client secret.
fn with_secret(directory: &str, client: &str, variable: &str) -> String {
    format!(
        "  azure: {{ tenantId: {directory}, clientId: {client}, clientSecret: {{ envVar: \
         {variable:?} }} }}\n"
    )
}

fn config(body: &str) -> String {
    format!("apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n{body}\n")
}

type Arrange = Box<dyn Fn(&mut Customer) + Send + Sync>;
type Check = Box<dyn Fn(&Customer, &Value) -> Result<()> + Send + Sync>;

/// Given this, when the key is probed, then that.
struct Row {
    name: &'static str,
    arrange: Arrange,
    reason: &'static str,
    kind: &'static str,
    hint: &'static str,
    checks: Vec<Check>,
    /// How many turns it takes of those that run side by side.
    turns: u32,
}

/// The key cannot be used, for this reason, and the message has this in it.
fn row(
    name: &'static str,
    (kind, reason, hint): (&'static str, &'static str, &'static str),
    arrange: impl Fn(&mut Customer) + Send + Sync + 'static,
) -> Row {
    Row {
        name,
        arrange: Box::new(arrange),
        reason,
        kind,
        hint,
        checks: Vec::new(),
        turns: 1,
    }
}

/// The key can be used.
fn works(name: &'static str, arrange: impl Fn(&mut Customer) + Send + Sync + 'static) -> Row {
    row(name, ("", "Verified", ""), arrange)
}

impl Row {
    /// No other row runs meanwhile: an answer that the operator waits for only briefly is in the report.
    fn alone(mut self) -> Self {
        self.turns = SIDE_BY_SIDE;
        self
    }

    fn check(
        mut self,
        check: impl Fn(&Customer, &Value) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// How many requests of this operation reached the cloud.
    fn sends(self, operation: &'static str, count: usize) -> Self {
        self.check(move |customer, _| {
            let found = customer.cloud.count("*", operation);
            ensure!(found == count, "{found} × {operation} instead of {count}");
            Ok(())
        })
    }

    /// Nothing at all reached a cloud, the proxy or the metadata service.
    fn sends_nothing(self) -> Self {
        self.check(|customer, _| {
            let calls = customer.cloud.calls();
            ensure!(calls.is_empty(), "sent: {calls:?}");
            Ok(())
        })
    }

    /// The report shows this code.
    fn code(self, code: &'static str) -> Self {
        self.check(move |_, report| {
            ensure!(
                report["code"] == code,
                "code {} instead of {code}",
                report["code"]
            );
            Ok(())
        })
    }

    /// The message has this in it, too.
    fn says(self, text: &'static str) -> Self {
        self.check(move |_, report| {
            let message = report["message"].as_str().unwrap_or_default();
            ensure!(message.contains(text), "no {text}: {report}");
            Ok(())
        })
    }

    /// This text, which a cloud or a person wrote, is nowhere in the report.
    fn hides(self, text: &'static str) -> Self {
        self.check(move |_, report| {
            ensure!(
                !report.to_string().contains(text),
                "repeats {text}: {report}"
            );
            Ok(())
        })
    }

    async fn run(&self) -> Result<()> {
        let mut customer = Customer::new().await?;
        (self.arrange)(&mut customer);
        let report = customer.verify().await?;
        let text = |name: &str| report[name].as_str().unwrap_or_default();
        ensure!(
            text("reason") == self.reason,
            "expected {}: {report}",
            self.reason
        );
        ensure!(
            text("kind") == self.kind,
            "expected {}: {report}",
            self.kind
        );
        ensure!(
            text("message").contains(self.hint),
            "expected {:?}: {report}",
            self.hint
        );
        for check in &self.checks {
            check(&customer, &report)?;
        }
        Ok(())
    }
}

/// How many rows run at a time.
const SIDE_BY_SIDE: u32 = 8;

/// Runs rows side by side, each in a cloud of its own, and names all that failed.
async fn run(rows: Vec<Row>) {
    let gate = Arc::new(Semaphore::new(SIDE_BY_SIDE as usize));
    let mut running = JoinSet::new();
    for row in rows {
        let gate = gate.clone();
        running.spawn(async move {
            let _turns = gate.acquire_many_owned(row.turns).await;
            row.run()
                .await
                .map_err(|error| format!("{}: {error:#}", row.name))
        });
    }
    let outcomes = running.join_all().await;
    let failed: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(
        failed.is_empty(),
        "{} rows failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
