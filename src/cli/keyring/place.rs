//! Where records are, for a person: the namespaces, the record, and the policy that keeps records from
//! everybody, which is told apart from a missing right and waited for once it was opened.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, interval, timeout};

use crate::controller;
use crate::policy::pattern::is_dns_name;
use crate::provider::TenantId;
use crate::record::Record;
use crate::record::store::{KubeStore, RecordStore, StoreError, Version, secret_name};

const DEADLINE: Duration = Duration::from_secs(5);
/// How long the API server may take to learn that the glass was broken.
const LEARNS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(500);
const GLASS: &str = "tenantkms.dev/break-glass";
/// What the chart's policy says of every write that it refuses.
const POLICY: &str = "break glass: kubectl annotate";

/// Why nothing was done, in words for whoever called.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

#[derive(Clone, Debug, clap::Args)]
pub struct Records {
    /// Where the records are kept
    #[arg(
        long,
        value_name = "NS",
        env = "TENANT_KMS_RECORDS_NAMESPACE",
        default_value = "tenant-kms-records"
    )]
    pub records_namespace: String,
}

/// A tenant, and where it is on record.
#[derive(Clone, Debug, clap::Args)]
pub struct Named {
    /// The name of the TenantKms
    name: String,
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    records: Records,
}

/// One tenant's place on record.
pub struct Place {
    pub tenant: TenantId,
    pub records_namespace: String,
    namespaces: Api<Namespace>,
    pub store: KubeStore,
}

impl Place {
    pub async fn named(named: Named) -> Result<Self, Problem> {
        let tenant = TenantId::new(named.namespace, named.name);
        Self::of(tenant, named.records).await
    }

    /// Speaks to the API server of the caller's kubeconfig.
    pub async fn of(tenant: TenantId, records: Records) -> Result<Self, Problem> {
        let Records { records_namespace } = records;
        for name in [&tenant.namespace, &tenant.name, &records_namespace] {
            if name.len() > 63 || !is_dns_name(name) {
                return Err(Problem(
                    "names of namespaces and tenants have at most 63 of a-z, 0-9 and '-'".into(),
                ));
            }
        }
        let client: Client = controller::client()
            .await
            .map_err(|error| Problem(error.to_string()))?;
        Ok(Self {
            store: KubeStore::new(client.clone(), &records_namespace),
            namespaces: Api::all(client),
            tenant,
            records_namespace,
        })
    }

    /// The UID of the tenant's namespace as it is now.
    pub async fn namespace_uid(&self) -> Result<String, Problem> {
        let name = &self.tenant.namespace;
        match timeout(DEADLINE, self.namespaces.get_metadata_opt(name)).await {
            Ok(Ok(Some(found))) if found.metadata.deletion_timestamp.is_none() => {
                Ok(found.uid().unwrap_or_default())
            }
            Ok(Ok(Some(_))) => Err(Problem(format!(
                "namespace '{name}' is being deleted: kubectl get namespace '{name}' --watch"
            ))),
            Ok(Ok(None)) => Err(Problem(format!(
                "there is no namespace '{name}', to which the keys are bound. Create it first: \
                 kubectl create namespace '{name}'"
            ))),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(silent()),
        }
    }

    pub async fn stored(&self) -> Result<Option<(Vec<u8>, Version)>, Problem> {
        self.store.stored(&self.tenant).await.map_err(|e| told(&e))
    }

    /// The record, if there is one; a problem when it cannot be used.
    pub async fn record(&self) -> Result<Option<(Record, Version)>, Problem> {
        let Some((bytes, version)) = self.stored().await? else {
            return Ok(None);
        };
        let record = Record::read(&bytes, &self.tenant).map_err(|unusable| {
            let failure = unusable.failure(&self.records_namespace, &self.secret());
            Problem(failure.into_details().message)
        })?;
        Ok(Some((record, version)))
    }

    /// Writes the record in the place of exactly what was read. `why` is what a person would write
    /// into the namespace's annotation.
    pub async fn save(
        &self,
        record: &Record,
        read: Option<&Version>,
        why: &str,
    ) -> Result<(), Problem> {
        let until = Instant::now() + LEARNS;
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            match self.store.save(&self.tenant, record, read).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Api(error)) if kept(&error) => {
                    if !self.is_open().await || Instant::now() > until {
                        return Err(self.glass(why));
                    }
                }
                Err(error) => return Err(told(&error)),
            }
        }
    }

    /// Whether the glass was broken; not, where that may not be read.
    async fn is_open(&self) -> bool {
        let read = self.namespaces.get_metadata_opt(&self.records_namespace);
        let read = timeout(DEADLINE, read).await;
        let found = read.ok().and_then(Result::ok).flatten();
        found.is_some_and(|found| {
            let reason = found.annotations().get(GLASS);
            reason.is_some_and(|reason| !reason.is_empty())
        })
    }

    fn glass(&self, why: &str) -> Problem {
        let namespace = &self.records_namespace;
        Problem(format!(
            "Records are kept from all but the operator, so nothing was written. Break the glass, \
             repeat this command, and close it again:\n  kubectl annotate namespace '{namespace}' \
             {GLASS}={why}\n  kubectl annotate namespace '{namespace}' {GLASS}-"
        ))
    }

    /// What brings a running operator to read the record again.
    pub fn tell(&self) -> String {
        let (namespace, name) = self.tenant.parts();
        format!(
            "An operator that runs reads it within 30 seconds, or as soon as it writes the record \
             itself; to make it look now: kubectl annotate tkms '{name}' --namespace '{namespace}' \
             --overwrite tenantkms.dev/verify-requested-at=\"$(date -Iseconds)\""
        )
    }

    /// The name of the record's Secret.
    pub fn secret(&self) -> String {
        secret_name(&self.tenant)
    }
}

/// The chart's policy refused, not RBAC.
fn kept(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == 403 && status.message.contains(POLICY))
}

pub fn told(error: &StoreError) -> Problem {
    match error {
        StoreError::Api(error) => refused(error),
        StoreError::Conflict => Problem(
            "The record was changed by somebody else meanwhile, so nothing was written. Repeat \
             this command."
                .into(),
        ),
        StoreError::Deadline => silent(),
        error => Problem(format!("{error}.")),
    }
}

fn refused(error: &kube::Error) -> Problem {
    match error {
        // The API server's own words about the caller's own request.
        kube::Error::Api(status) => Problem(format!("The API server refused: {}", status.message)),
        _ => silent(),
    }
}

fn silent() -> Problem {
    Problem(
        "The API server did not answer, so nothing is known to be changed. Check it, then repeat \
         this command: kubectl get --raw '/readyz?verbose'"
            .into(),
    )
}
