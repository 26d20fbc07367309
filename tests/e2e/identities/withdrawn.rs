//! What a namespace lent is withdrawn while its tenant is Active. That is no customer's no: the
//! tenant lives until its last proof is proofTTL old, and then says which command lends it again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use harness::Operator;

use super::{Town, application, tenant};
use crate::faults::town::last_proof;
use crate::seen::row;
use crate::support::SECRET;

/// proofTTL of these tenants, in seconds.
const PROOF: f64 = 60.0;
/// A token that is left may give one proof more at its very end; then an interval, a confirmation,
/// the time a status takes on a busy machine to be seen.
const LIMIT: Duration = Duration::from_secs(2 * 60 + 5 + 30);
const SEALED: &str =
    "Sealed: Ready=False Active=False Sealed=True ConfigAccepted=True Reconciling=True";

/// One tenant, which is called like what happens to it.
struct Case {
    name: &'static str,
    /// `kubectl` with its arguments; `@` is the namespace's Secret or `ServiceAccount`.
    withdraw: &'static str,
    hint: &'static str,
    /// What mends it where the message has a command with something left to fill in.
    mend: Option<&'static str>,
}

const fn case(
    name: &'static str,
    withdraw: &'static str,
    hint: &'static str,
    mend: Option<&'static str>,
) -> Case {
    Case {
        name,
        withdraw,
        hint,
        mend,
    }
}

const CREATE: &str = "create secret generic @ --from-literal=client-secret=SECRET";

/// By a client secret of the Secret `NAME-azure`.
const SECRETS: [Case; 6] = [
    case(
        "unbound",
        "delete rolebinding tenant-kms-unbound-secret",
        "a Role is missing",
        None,
    ),
    case(
        "unruled",
        "delete role tenant-kms-unruled-secret",
        "a Role is missing",
        None,
    ),
    case(
        "unlabelled",
        "label secret @ tenantkms.dev/tenant-",
        "the label is missing",
        None,
    ),
    case(
        "relabelled",
        "label secret @ --overwrite tenantkms.dev/tenant=birch",
        "lent to another tenant",
        None,
    ),
    case(
        "deleted",
        "delete secret @",
        "there is no Secret",
        Some(CREATE),
    ),
    case(
        "emptied",
        "patch secret @ --type=json --patch=[{\"op\":\"remove\",\"path\":\"/data/client-secret\"}]",
        "has no such key",
        Some("patch secret @ --patch={\"stringData\":{\"client-secret\":\"SECRET\"}}"),
    ),
];

/// By a token of the `ServiceAccount` `NAME-kms`.
const ACCOUNTS: [Case; 4] = [
    case(
        "unminted",
        "delete role tenant-kms-unminted-token",
        "a Role is missing",
        None,
    ),
    case(
        "unseen",
        "delete rolebinding tenant-kms-unseen-account",
        "a Role is missing",
        None,
    ),
    case(
        "unlent",
        "label serviceaccount @ tenantkms.dev/tenant-",
        "the label is missing",
        None,
    ),
    case(
        "gone",
        "delete serviceaccount @",
        "there is no ServiceAccount",
        None,
    ),
];

impl Case {
    fn object(&self, account: bool) -> String {
        format!("{}-{}", self.name, if account { "kms" } else { "azure" })
    }

    async fn kubectl(&self, town: &Town, command: &str, account: bool) -> Result<()> {
        let command = command
            .replace('@', &self.object(account))
            .replace("SECRET", SECRET);
        let args: Vec<&str> = command.split(' ').collect();
        town.env.kubectl(&args).await?.success().map(drop)
    }

    /// Lends, and becomes Active by the command that its own refusal holds.
    async fn lend(&self, town: &Town, account: bool) -> Result<()> {
        let object = self.object(account);
        let (create, kind, proof, reason) = if account {
            let proof = format!(", serviceAccountName: {object}");
            let create = "create serviceaccount @";
            (create, "serviceaccount", proof, "IdentityUnavailable")
        } else {
            let from = format!("{{ name: {object}, key: client-secret }}");
            let proof = format!(", clientSecret: {{ secretRef: {from} }}");
            (CREATE, "secret", proof, "SecretNotFound")
        };
        self.kubectl(town, create, account).await?;
        let label = format!("label {kind} @ tenantkms.dev/tenant={}", self.name);
        self.kubectl(town, &label, account).await?;
        if account {
            town.trust(&town.subject(&object));
        }
        let manifest = tenant(self.name, &application(&proof));
        town.env.apply(&manifest).await?.success()?;
        let message = town.refused(self.name, reason, "create role").await?;
        town.run(&message).await?;
        town.retried(self.name).await.map(drop)
    }

    /// Withdraws, and is sealed in its time for its reason; mends, and is Active again.
    async fn play(&self, town: &Town, operator: &Operator, account: bool) -> Result<()> {
        self.kubectl(town, self.withdraw, account).await?;
        let reason = if account {
            "IdentityUnavailable"
        } else {
            "SecretNotFound"
        };
        let sealed = town
            .env
            .wait_condition(self.name, "Sealed", "True", None, LIMIT)
            .await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let age = now - last_proof(operator, self.name).await?;
        ensure!(age > PROOF, "with a proof of {age:.3} s");
        ensure!(row(&sealed) == SEALED, "{sealed}");
        let conditions = sealed["status"]["conditions"].as_array();
        let found = conditions.and_then(|all| all.iter().find(|one| one["type"] == "Sealed"));
        let found = found.context("the condition")?;
        let message = found["message"].as_str().unwrap_or_default();
        ensure!(found["reason"] == reason, "{found}");
        ensure!(
            message.contains(self.hint) && message.contains(&self.object(account)),
            "{message}"
        );
        ensure!(!message.contains(SECRET), "{message}");
        match self.mend {
            Some(command) => {
                self.kubectl(town, command, account).await?;
                if command == CREATE {
                    let label = format!("label secret @ tenantkms.dev/tenant={}", self.name);
                    self.kubectl(town, &label, account).await?;
                }
            }
            None => town.run(message).await?,
        }
        town.retried(self.name).await.map(drop)
    }
}

#[tokio::test]
async fn what_is_withdrawn_seals_with_the_last_proof_and_comes_back() -> Result<()> {
    let town = Town::new("withdrawn").await?;
    town.app.add_secret(SECRET);
    let operator = &town.env.operator().await?;
    let (secrets, accounts) = (SECRETS.iter(), ACCOUNTS.iter());
    let all: Vec<(&Case, bool)> = secrets
        .map(|case| (case, false))
        .chain(accounts.map(|case| (case, true)))
        .collect();
    let town = &town;
    stream::iter(&all)
        .map(|(case, account)| async move {
            let lent = case.lend(town, *account).await;
            lent.with_context(|| format!("{} is lent", case.name))
        })
        .buffer_unordered(3)
        .try_collect::<()>()
        .await?;
    stream::iter(&all)
        .map(|(case, account)| async move {
            let played = case.play(town, operator, *account).await;
            played.with_context(|| case.name.to_owned())
        })
        .buffer_unordered(all.len())
        .try_collect()
        .await
}
