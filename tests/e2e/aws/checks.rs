//! What KMS answers to the checks of tenants that are active: a no of the key seals at once, and whatever else
//! comes seals when the last proof is too old and not before.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use fakecloud::Fault;
use fakecloud::aws::effects;
use fakecloud::aws::key::Status;
use futures::future::try_join_all;
use harness::{Cloud, Customer, Env, Identity, Operator};
use serde_json::json;

use crate::faults::film::{Film, condition, is, sealed_for};
use crate::faults::outage::LATEST;
use crate::faults::town::last_proof;
use crate::support::SOON;

const TTL: f64 = 60.0;
/// Of checks every 5 s, in a minute and on a busy machine.
const CHECKS: usize = 3;

/// How every Decrypt is answered from now on.
#[derive(Clone, Copy)]
enum Answer {
    /// By what became of the key.
    Key(Status),
    /// By this status and code, with the key's ARN and this as the sentence.
    Says(u16, &'static str, &'static str),
}

/// Whether the tenant is sealed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    No,
    Nothing,
}

type Row = (&'static str, Answer, Means, &'static str);

const INVALID: &str = "KMSInvalidStateException";

const ROWS: [Row; 14] = {
    use Answer::{Key, Says};
    use Means::{No, Nothing};
    [
        ("deletion", Key(Status::PendingDeletion), No, "KeyUnusable"),
        ("import", Key(Status::PendingImport), No, "KeyUnusable"),
        (
            "replica-deletion",
            Says(400, INVALID, " is pending replica deletion."),
            No,
            "KeyUnusable",
        ),
        (
            "throttled",
            Says(400, "ThrottlingException", ""),
            Nothing,
            "Throttled",
        ),
        (
            "throttled-429",
            Says(429, "ThrottlingException", ""),
            Nothing,
            "Throttled",
        ),
        ("bare-429", Says(429, "", ""), Nothing, "Throttled"),
        (
            "internal",
            Says(500, "KMSInternalException", ""),
            Nothing,
            "ProviderError",
        ),
        (
            "dependency",
            Says(503, "DependencyTimeoutException", ""),
            Nothing,
            "ProviderError",
        ),
        (
            "unavailable",
            Says(500, "KeyUnavailableException", ""),
            Nothing,
            "ProviderError",
        ),
        // A no in the words of a service that is broken is none.
        (
            "broken-no",
            Says(500, INVALID, " is pending deletion."),
            Nothing,
            "ProviderError",
        ),
        ("store", Key(Status::Unavailable), Nothing, "ProviderError"),
        (
            "creating",
            Says(400, INVALID, " is creating."),
            Nothing,
            "ProviderError",
        ),
        (
            "updating",
            Says(400, INVALID, " is updating."),
            Nothing,
            "ProviderError",
        ),
        ("wordless", Says(400, INVALID, ""), Nothing, "ProviderError"),
    ]
};

impl Answer {
    fn begin(self, env: &Env, customer: &Customer) {
        match self {
            Self::Key(status) => env.cloud.aws().key(customer.key()).set_status(status),
            Self::Says(status, code, end) => {
                let message = format!("{}{end}", customer.key());
                let effect = effects::kms(status, code, &message);
                let theirs = Fault {
                    effect,
                    ..customer.outage()
                };
                env.cloud.fault(theirs.operation("decrypt"));
            }
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Key(_) => 400,
            Self::Says(status, ..) => status,
        }
    }
}

#[tokio::test]
async fn only_a_no_of_the_key_seals_an_active_tenant_before_its_proof_is_too_old() -> Result<()> {
    let env = Env::new("aws-checks").await?;
    let issuer = env.issuer().await?;
    let new = |(name, ..): &Row| Customer::new(&env, Cloud::Aws, name, Identity::Given, &issuer);
    let customers = ROWS.iter().map(new).collect::<Result<Vec<_>>>()?;
    let steady = Customer::new(&env, Cloud::Aws, "steady", Identity::Given, &issuer)?;
    env.configure(customers.iter().chain([&steady]));
    let operator = env.operator().await?;
    let films = customers.iter().chain([&steady]).map(async |customer| {
        let verify = json!({ "interval": "5s", "proofTTL": "1m" });
        env.bring(customer, verify).await?;
        Film::start(&env, &customer.name).await
    });
    let films = try_join_all(films).await?;
    let films_of = || customers.iter().zip(&films).zip(&ROWS);

    let begun = Instant::now();
    for ((customer, _), (_, answer, ..)) in films_of() {
        answer.begin(&env, customer);
    }
    try_join_all(films_of().map(|((customer, film), row)| {
        let env = &env;
        let operator = &operator;
        async move {
            let name = row.0;
            let judged = judged(env, operator, customer, film, row, begun);
            judged.await.with_context(|| format!("the row {name}"))
        }
    }))
    .await?;
    films[ROWS.len()].always_active()?;

    env.cloud.clear_faults();
    let cleared = Instant::now();
    for ((customer, film), _) in films_of() {
        customer.enable();
        env.ask(&customer.name, "verify").await?;
        let active = |object: &_| is(object, "Active", "True");
        film.until("Active", cleared, 2 * SOON, active).await?;
    }
    Ok(())
}

async fn judged(
    env: &Env,
    operator: &Operator,
    customer: &Customer,
    film: &Film,
    (_, answer, means, reason): &Row,
    begun: Instant,
) -> Result<()> {
    let within = match means {
        Means::No => SOON,
        Means::Nothing => 5 * SOON,
    };
    let sealed = film
        .until("Sealed", begun, within, |object| {
            is(object, "Sealed", "True")
        })
        .await?;
    let why = condition(&sealed.object, "Sealed").context("no condition")?;
    ensure!(sealed_for(&sealed.object, reason), "{why:#}");
    if *means == Means::No {
        return Ok(());
    }
    let proof = last_proof(operator, &customer.name).await?;
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).map(|age| age.as_secs_f64());
    let age = seconds(sealed.wall)? - proof;
    ensure!((TTL..LATEST).contains(&age), "sealed after {age:.3} s");
    // Sealed for want of a proof, not of answers.
    let calls = env.cloud.calls();
    let answered = calls.iter().filter(|call| {
        call.instant > begun && customer.is_checked_by(call) && call.status == answer.status()
    });
    let answered = answered.count();
    ensure!(answered >= CHECKS, "asked {answered} times");
    film.never("neither Active nor Sealed", |object| {
        !is(object, "Active", "True") && !is(object, "Sealed", "True")
    })
}
