//! `tenant-kms keyring adopt NAME -n NS`: binds a record to the namespace that stands where the record's
//! own was deleted. Changes that one value and nothing else.

use super::place::{Named, Place, Problem};
use crate::record::Record;

/// Let this namespace have the record of its deleted forerunner
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    named: Named,
}

pub async fn run(args: Args) -> Result<(), Problem> {
    let place = Place::named(args.named).await?;
    let namespace_uid = place.namespace_uid().await?;
    let (tenant, records) = (&place.tenant, &place.records_namespace);
    let Some((record, version)) = place.record().await? else {
        return Err(Problem(format!(
            "There is no record of {tenant} in namespace '{records}' that could be adopted; keys \
             from a backup are put on record by: tenant-kms keyring import --file '<file>'"
        )));
    };
    if record.namespace_uid == namespace_uid {
        return Err(Problem(format!(
            "The record of {tenant} belongs to this namespace already: nothing was changed."
        )));
    }
    let adopted = Record {
        namespace_uid,
        ..record
    };
    place.save(&adopted, Some(&version), "adopt").await?;
    println!(
        "The record of {tenant} belongs to the present namespace '{}' now. {}",
        tenant.namespace,
        place.tell()
    );
    Ok(())
}
