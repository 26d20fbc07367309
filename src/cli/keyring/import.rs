//! `tenant-kms keyring import -f FILE`: puts exported keys on record. The operator takes them only when
//! the customer's key opens the active one to what it was; nothing is believed here but the file's form.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::decide::{Decision, Existing, Refusal, decide};
use super::document::{Document, MAX_BYTES};
use super::place::{Place, Problem, Records, told};
use crate::provider::TenantId;

/// Put exported master keys on record, before the `TenantKms` is applied
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What `keyring export` wrote; `-` is standard input
    #[arg(short, long)]
    file: PathBuf,
    /// The name of the TenantKms; as exported when absent
    name: Option<String>,
    /// Its namespace; as exported when absent
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    records: Records,
    /// Replace a record that is there and cannot be read, or the wrapped bytes in it of versions that
    /// the file has too
    #[arg(long)]
    replace_damaged: bool,
}

pub async fn run(args: Args) -> Result<(), Problem> {
    let at = args.file.display().to_string();
    let bytes = load(&args.file)
        .map_err(|error| Problem(format!("{at} cannot be read: {}", error.kind())))?;
    let document =
        Document::parse(&bytes).map_err(|refused| Problem(format!("{at}: {refused}.")))?;
    let origin = document
        .origin()
        .ok_or_else(|| Problem(format!("{at} names no tenant.")))?;
    let tenant = TenantId::new(
        args.namespace.as_ref().unwrap_or(&origin.namespace),
        args.name.as_ref().unwrap_or(&origin.name),
    );
    let place = Place::of(tenant, args.records).await?;
    let namespace_uid = place.namespace_uid().await?;
    let (stored, version) = place.stored().await?.unzip();
    let existing = Existing::read(stored.as_deref(), &place.tenant);
    let tenant = &place.tenant;
    let decision = decide(
        &existing,
        &document,
        tenant,
        &namespace_uid,
        args.replace_damaged,
    );
    let record = match decision {
        Decision::Write(record) => record,
        Decision::Unchanged { foreign } => {
            println!("{}", unchanged(&place, foreign));
            return Ok(());
        }
        Decision::Refuse(refusal) => return Err(explain(refusal, &place, &at)),
    };
    let another = place.store.another(tenant, &document.tenant_uid).await;
    if let Some(other) = another.map_err(|error| told(&error))? {
        return Err(clone(&place, &other));
    }
    place.save(&record, version.as_ref(), "import").await?;
    let Some(keyring) = &record.keyring else {
        return Ok(());
    };
    println!(
        "{tenant} has {} master keys on record (revision {}), wrapped by {} version {}. Its \
         TenantKms becomes Active when that key opens them. {}",
        keyring.live().count(),
        keyring.revision,
        keyring.kek.key_id,
        keyring.kek.version,
        place.tell()
    );
    Ok(())
}

fn load(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn unchanged(place: &Place, foreign: bool) -> String {
    let (namespace, name) = place.tenant.parts();
    let adopt = if foreign {
        format!(
            " The record belongs to a namespace of this name that was deleted; to let this one have \
             it: tenant-kms keyring adopt '{name}' --namespace '{namespace}' --records-namespace \
             '{}'",
            place.records_namespace
        )
    } else {
        String::new()
    };
    format!(
        "Nothing was changed: {} has these master keys on record, the same or newer ones.{adopt}",
        place.tenant
    )
}

fn explain(refusal: Refusal, place: &Place, file: &str) -> Problem {
    let (tenant, secret) = (&place.tenant, place.secret());
    let records = &place.records_namespace;
    let (namespace, name) = tenant.parts();
    let own = format!("'{name}' --namespace '{namespace}' --records-namespace '{records}'");
    Problem(match refusal {
        Refusal::OtherKeyring => format!(
            "{tenant} has master keys of its own on record already, and a tenant never has two \
             keyrings: nothing was changed. What was encrypted since needs those keys, so keep \
             them: tenant-kms keyring export {own} --output kept.json\nThen, if these are to take \
             their place: `kubectl delete tkms '{name}' --namespace '{namespace}'`, break the glass \
             (`kubectl annotate namespace '{records}' tenantkms.dev/break-glass=import`), `kubectl \
             delete secret '{secret}' --namespace '{records}'`, repeat this command, and apply the \
             TenantKms again."
        ),
        Refusal::Diverged => format!(
            "The keyring on record and the one in {file} have both changed since they were one, \
             so either has a version that the other lacks or has erased: nothing was changed. \
             Compare them: tenant-kms keyring export {own}"
        ),
        Refusal::Unreadable => format!(
            "The record of {tenant} cannot be read, and nobody can tell whether the file is newer: \
             nothing was changed. Keep a copy (`kubectl get secret '{secret}' --namespace \
             '{records}' --output yaml > damaged.yaml`), then repeat this command with \
             --replace-damaged."
        ),
        Refusal::TooNew => format!(
            "The record of {tenant} was written by a newer operator: nothing was changed. Use the \
             tenant-kms of that version."
        ),
    })
}

fn clone(place: &Place, other: &str) -> Problem {
    let records = &place.records_namespace;
    Problem(format!(
        "These master keys are on record already, as those of {other}: a keyring serves one tenant \
         of a cluster, and nothing was changed. If {} takes its place, delete that TenantKms and \
         its record first: `kubectl get secrets --namespace '{records}' --label-columns \
         tenantkms.dev/tenant-namespace,tenantkms.dev/tenant-name` shows which it is.",
        place.tenant
    ))
}
