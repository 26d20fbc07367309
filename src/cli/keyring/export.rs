//! `tenant-kms keyring export NAME -n NS`: the record's wrapped keys as one file, for a backup or for
//! another cluster. Reads one Secret and changes nothing.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::document::Document;
use super::place::{Named, Place, Problem};

/// Export a tenant's master keys, wrapped by the customer's key
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    named: Named,
    /// Where to write (mode 0600); standard output when absent
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

pub async fn run(args: Args) -> Result<(), Problem> {
    let place = Place::named(args.named).await?;
    let (secret, namespace) = (place.secret(), &place.records_namespace);
    let Some((record, _)) = place.record().await? else {
        return Err(Problem(format!(
            "There is no record of {} in namespace '{namespace}' (Secret '{secret}'). Check names \
             and --records-namespace: kubectl get secrets --namespace '{namespace}' --label-columns \
             tenantkms.dev/tenant-namespace,tenantkms.dev/tenant-name",
            place.tenant
        )));
    };
    let document = Document::of(&record, Timestamp::now()).ok_or_else(|| {
        let (namespace, name) = place.tenant.parts();
        Problem(format!(
            "{} has no master keys yet: they begin with its first proof. kubectl get tkms '{name}' \
             --namespace '{namespace}'",
            place.tenant
        ))
    })?;
    let text = document
        .to_text()
        .map_err(|_| Problem("The keyring could not be written as JSON.".into()))?;
    let Some(file) = args.output else {
        let written = io::stdout().write_all(text.as_bytes());
        return written.map_err(|error| Problem(format!("standard output: {}", error.kind())));
    };
    write(&file, &text, args.force).map_err(|error| {
        let at = file.display();
        Problem(match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{at} is there already and was left alone; --force replaces it.")
            }
            kind => format!("{at} cannot be written: {kind}"),
        })
    })?;
    let keyring = &document.keyring;
    eprintln!(
        "{}: {} master keys (revision {}), wrapped by {} version {}, in {}. Nothing but that key \
         opens them.",
        place.tenant,
        keyring.live().count(),
        keyring.revision,
        keyring.kek.key_id,
        keyring.kek.version,
        file.display()
    );
    Ok(())
}

/// Whole or not at all, and readable by its owner only.
fn write(file: &Path, text: &str, force: bool) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = file.with_file_name(name);
    let new = |path: &Path| {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(path)
    };
    let mut out = new(&beside)?;
    let mut put = || {
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        if force {
            std::fs::rename(&beside, file)
        } else {
            // Unlike a rename, a link takes no place that is taken.
            std::fs::hard_link(&beside, file).and_then(|()| std::fs::remove_file(&beside))
        }
    };
    put().inspect_err(|_| {
        let _ = std::fs::remove_file(&beside); // the first error is the one to tell
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_its_owners_and_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("acme.json");
        write(&file, "one", false).expect("written");
        let mode = std::fs::metadata(&file)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = write(&file, "two", false).expect_err("taken");
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "one");
        write(&file, "two", true).expect("forced");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "two");
        let left = std::fs::read_dir(folder.path()).expect("listed").count();
        assert_eq!(left, 1, "nothing is left beside");
    }
}
