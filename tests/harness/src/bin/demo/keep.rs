//! `--keep`: how to look around in what still runs. The files it writes are in the demo's own
//! folder and go with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use harness::Orders;
use serde_json::{Value, json};

use crate::stage::{Scene, Stage};

pub fn explain(stage: &Stage<'_>) -> Result<()> {
    let Scene::Process {
        operator,
        follower,
        env,
    } = &stage.scene
    else {
        bail!("`cargo xtask cluster up` keeps a cluster");
    };
    let folder = env.dir.path();
    let kubeconfig = env.control.kubeconfig().display();
    let kubectl = folder.join("kubectl");
    script(
        &kubectl,
        &format!(
            "KUBECONFIG='{kubeconfig}' exec '{}' kubectl \"$@\"",
            harness::binaries()?.display()
        ),
    )?;
    let cloud = folder.join("cloud");
    script(
        &cloud,
        &format!(
            "exec curl --silent --show-error --noproxy '*' --header 'content-type: application/json' \\\n  \
             --data \"$1\" {}/commands",
            env.cloud.control_url()
        ),
    )?;
    let orders = stage.orders.get().map(Orders::folder);
    let orders = orders.context("no workload")?.display();
    let (kubectl, cloud) = (kubectl.display(), cloud.display());
    // Its key since the last move.
    let [no, yes, disable, enable] = stage.cast.next.commands();
    let tenant = &stage.customer().name;
    let outage = stage.cast.next.outage();
    let mut fault = json!({ "host": outage.host, "effect": { "kind": "hang" } });
    if let Some(principal) = outage.principal {
        fault["principal"] = json!(principal);
    }
    let hang = json!({ "on": "cloud", "do": "fault", "fault": fault });
    let clear = json!({ "on": "cloud", "do": "clear-faults" });
    let command = |what: &str, json: Value| format!("  {cloud} '{json}'   # {what}\n");
    println!(
        "\nIt all still runs. Ctrl-C ends it and removes everything.\n\n\
         Look (kubectl is in the folder too, or use your own):\n  \
         export KUBECONFIG={kubeconfig}\n  \
         {kubectl} get tkms -A -o wide\n  \
         {kubectl} describe tkms {tenant} -n tenants\n  \
         curl --noproxy '*' {}/metrics\n  \
         tail -f {}\n\n\
         Be the workload (it goes on, {orders}/log; its token lasts an hour):\n  \
         printf 'a record' | TENANT_KMS_URL={} TENANT=tenants/{tenant} \\\n    \
         TOKEN_FILE={orders}/token CA_FILE={orders}/ca.crt sh examples/curl.sh\n\n\
         Be the customer (the loopback clouds' control API, {}):\n{}{}{}{}{}{}",
        operator.metrics_url(),
        operator.log_path().display(),
        follower.agent_url(),
        env.cloud.control_url(),
        command("take the right away", no),
        command("give it back", yes),
        command("disable the key", disable),
        command("enable it", enable),
        command("the cloud hangs", hang),
        command("it answers again", clear),
    );
    Ok(())
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    Ok(())
}
