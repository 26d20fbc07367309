//! What one tenant costs in requests, for each cloud and identity, from the clouds' own record: checked at the
//! default interval for a while, each by an operator and on clouds of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fakecloud::Call;
use futures::future::try_join_all;
use harness::{Cloud, ControlPlane, Customer, Env, Identity};
use serde_json::json;
use tokio::time::sleep;

use crate::Options;
use crate::machine::{self, progress};

/// Times the rounds. A token is used for at most the default proofTTL, five minutes: six of these, each round.
const WATCHED: Duration = Duration::from_mins(30);
const HOUR: f64 = 3600.0;

pub async fn run(options: Options) -> Result<()> {
    println!("{}\n{}\n", machine::shape(), machine::program()?);
    let control = Arc::new(ControlPlane::start().await?);
    let watched = WATCHED * u32::try_from(options.rounds)?;
    let all = Cloud::ALL.map(|cloud| Identity::ALL.map(|identity| (cloud, identity)));
    let each = all.as_flattened().iter().map(|(cloud, identity)| {
        let control = Arc::clone(&control);
        async move { row(control, *cloud, *identity, watched).await }
    });
    let signs = async {
        let mut progress = progress(format!("watching for {watched:?}"));
        for second in 0.. {
            sleep(Duration::from_secs(1)).await;
            progress.at(second);
        }
    };
    let rows = tokio::select! {
        rows = try_join_all(each) => rows?,
        () = signs => unreachable!("it never ends"),
    };
    println!(
        "| provider | identity | checks an hour | requests to the key a check | token fetches an hour | requests for them |\n\
         |---|---|---|---|---|---|\n{}",
        rows.join("\n")
    );
    Ok(())
}

async fn row(
    control: Arc<ControlPlane>,
    cloud: Cloud,
    identity: Identity,
    watched: Duration,
) -> Result<String> {
    let env = Env::with_control(control, "calls").await?;
    let name = "acme";
    if identity == Identity::ServiceAccount {
        env.lend(name, &format!("{name}-kms")).await?;
    }
    let customer = Customer::new(&env, cloud, name, identity, &env.issuer().await?)?;
    env.configure([&customer]);
    let _operator = env.operator().await?;
    env.bring(&customer, json!({})).await?;
    env.cloud.reset_calls();
    let since = Instant::now();
    sleep(watched).await;
    let calls = env.cloud.calls();
    let hours = since.elapsed().as_secs_f64() / HOUR;
    let count = |which: &dyn Fn(&Call) -> bool| {
        let count = calls.iter().filter(|call| which(call)).count();
        f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    };
    let checks = count(&|call| customer.is_checked_by(call));
    let at_key = count(&|call| call.host == customer.host() && call.operation != "connect");
    let fetches = count(&|call| is_fetch(cloud, identity, call));
    let others = count(&|call| call.host != customer.host() && call.operation != "connect");
    Ok(format!(
        "| {cloud} | {} | {:.0} | {:.2} | {:.0} | {:.0} |",
        identity.name(cloud),
        checks / hours,
        at_key / checks,
        fetches / hours,
        others / hours
    ))
}

/// Whether this is the request that gives what KMS is shown; before it others may be needed.
fn is_fetch(cloud: Cloud, identity: Identity, call: &Call) -> bool {
    let last = match (cloud, identity) {
        (Cloud::Azure, Identity::Own) => "imds-token",
        (Cloud::Azure, _) => "token",
        (Cloud::Aws, Identity::Own) => "imds-credentials",
        (Cloud::Aws, Identity::Given) => "assume-role",
        (Cloud::Aws, Identity::ServiceAccount) => "assume-role-with-web-identity",
        (Cloud::Gcp, Identity::Own) => "metadata-token",
        (Cloud::Gcp, Identity::Given) => "generateAccessToken",
        (Cloud::Gcp, Identity::ServiceAccount) => "sts-token",
    };
    call.operation == last
}
