//! Records are the only copy of what they hold: nobody changes or deletes one by accident, and
//! whoever means it finds the way out.

use anyhow::{Result, ensure};
use harness::Env;
use tenant_kms::record::claims::digest;

use crate::seen::{eventually, record};
use crate::support::{SOON, World};

#[tokio::test]
async fn records_are_kept_from_everybody() -> Result<()> {
    let world = World::new("keeps").await?;
    let env = &world.env;
    let _operator = world.env.spawn(env.agent_options()).await?;
    world.active("").await?;
    let stored = record(env, "acme").await?;
    let (namespace, name) = (env.records_namespace.as_str(), stored.secret.as_str());
    let kubectl = async |args: &[&str]| {
        let args = [&["--namespace", namespace], args].concat();
        env.control.kubectl(&args).await
    };
    let delete = ["delete", "secret", name, "--wait=false"];
    eventually("the policy is in force", SOON, async || {
        let dry = [&delete[..], &["--dry-run=server"]].concat();
        Ok(!kubectl(&dry).await?.status)
    })
    .await?;
    // Also an administrator, for whom RBAC says yes to everything.
    let data = r#"--patch={"stringData":{"record.json":"{}"}}"#;
    let label = r#"--patch={"metadata":{"labels":{"tenantkms.dev/tenant-name":"other"}}}"#;
    let owner = r#"--patch={"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"x"}]}}"#;
    // For ever: not even the operator could write it again.
    let seal = r#"--patch={"immutable":true}"#;
    let patch = |patch| ["patch", "secret", name, "--type=merge", patch];
    for (args, words) in [
        (
            &delete[..],
            "may not be deleted; break glass: kubectl annotate",
        ),
        (&["delete", "secrets", "--all"][..], "may not be deleted"),
        (&patch(data)[..], "only the tenant-kms operator may write"),
        (&patch(label)[..], "only the tenant-kms operator may write"),
        (&patch(owner)[..], "only the tenant-kms operator may write"),
        (&patch(seal)[..], "only the tenant-kms operator may write"),
        (
            &[
                "create",
                "secret",
                "generic",
                "planted",
                "--type=tenantkms.dev/record",
            ][..],
            "only the tenant-kms operator may write",
        ),
        (
            &[
                "create",
                "secret",
                "generic",
                "tkms-0123456789abcdef0123456789abcdef",
            ][..],
            "only the tenant-kms operator may write",
        ),
        (
            &["delete", "namespace", namespace, "--wait=false"][..],
            "this namespace holds every tenant's record",
        ),
    ] {
        let answer = kubectl(args).await?;
        ensure!(
            !answer.status && answer.stderr.contains(words),
            "{args:?}: {}{}",
            answer.stdout,
            answer.stderr
        );
    }
    ensure!(record(env, "acme").await? == stored);
    // What is nobody's record, and what changes nothing, pass.
    kubectl(&["create", "secret", "generic", "other", "--from-literal=a=b"])
        .await?
        .success()?;
    kubectl(&["delete", "secret", "other"]).await?.success()?;
    kubectl(&["annotate", "secret", name, "velero.io/backed-up=yes"])
        .await?
        .success()?;

    // The way out, which leaves its trace on the namespace and in the audit log.
    kubectl(&[
        "annotate",
        "namespace",
        namespace,
        "tenantkms.dev/break-glass=TICKET-1",
    ])
    .await?
    .success()?;
    eventually("the glass is broken", SOON, async || {
        Ok(kubectl(&delete).await?.status)
    })
    .await?;
    kubectl(&["delete", "namespace", namespace])
        .await?
        .success()?;
    Ok(())
}

/// What workloads trust is the operator's alone to write, too.
#[tokio::test]
async fn the_agents_ca_is_kept_from_everybody() -> Result<()> {
    let env = Env::new("keeps-ca").await?;
    let namespace = ["--namespace", env.records_namespace.as_str()];
    let name = "tenant-kms-agent-ca";
    let kind = "--type=tenantkms.dev/agent-ca";
    let data = r#"--patch={"stringData":{"agent-ca.json":"{}"}}"#;
    let create = |name| ["create", "secret", "generic", name, kind];
    let refused = async |args: &[&str], words: &str| {
        let answer = env.control.kubectl(&[&namespace, args].concat()).await?;
        anyhow::Ok(!answer.status && answer.stderr.contains(words))
    };
    let write = "only the tenant-kms operator may write records and the agent's CA";
    eventually("the policy is in force", SOON, async || {
        let dry = [&create(name)[..], &["--dry-run=server"]].concat();
        refused(&dry, write).await
    })
    .await?;
    let operator = format!("--as={}", env.operator_user());
    let masters = "--as-group=system:masters"; // the policy looks at the name
    let by_it = [&namespace[..], &create(name), &[&operator, masters]].concat();
    env.control.kubectl(&by_it).await?.success()?;
    let keep =
        "the agent's CA is what workloads trust: it may not be deleted; break glass: kubectl";
    for (args, words) in [
        (&["delete", "secret", name][..], keep),
        (&["patch", "secret", name, data][..], write),
        (&create("another")[..], write),
        (&["create", "secret", "generic", name][..], write),
    ] {
        ensure!(refused(args, words).await?, "{args:?}");
    }
    Ok(())
}

/// What calls itself another namespace's claim and is no record takes nobody's key: the policy above
/// guards records alone.
#[tokio::test]
async fn a_planted_secret_takes_no_key() -> Result<()> {
    let world = World::new("planted").await?;
    let env = &world.env;
    let claim = format!("tenantkms.dev/claim={}", digest(&world.key.url()));
    let namespace = ["--namespace", env.records_namespace.as_str()];
    let create = ["create", "secret", "generic", "zz-planted"];
    let label = [
        "label",
        "secret",
        "zz-planted",
        &claim,
        "tenantkms.dev/tenant-namespace=other",
        "tenantkms.dev/tenant-name=acme",
    ];
    for args in [&create[..], &label] {
        let planted = env.control.kubectl(&[&namespace, args].concat()).await?;
        planted.success()?;
    }
    let _operator = world.operator().await?;
    world.active("").await?;
    // It is what the tenant's own record claims.
    let selector = format!("--selector={claim}");
    let get = ["get", "secrets", "--output=name", &selector];
    let found = env
        .control
        .kubectl(&[&namespace, &get[..]].concat())
        .await?;
    let found = found.success()?;
    ensure!(found.contains("secret/tkms-"), "{found}");
    Ok(())
}

#[tokio::test]
async fn a_record_can_be_left_to_a_backup_tool() -> Result<()> {
    let env = Env::new("backup").await?;
    let user = format!("system:serviceaccount:{}:velero", env.namespace);
    let writers = format!(
        r#"records={{"namespace":"{}","writers":{{"users":["{user}"],"groups":[]}}}}"#,
        env.records_namespace
    );
    env.upgrade(&[&writers]).await?;
    let as_user = format!("--as={user}");
    let admins = "--as-group=system:masters";
    let plant = async |name: &str, more: &[&str]| {
        let args = [
            "--namespace",
            &env.records_namespace,
            "create",
            "secret",
            "generic",
            name,
        ];
        let args = [&args[..], &["--type=tenantkms.dev/record"], more].concat();
        env.control.kubectl(&args).await
    };
    eventually("only the backup tool may write", SOON, async || {
        let others = plant("tkms-planted", &["--dry-run=server"]).await?;
        let its = plant("tkms-restored", &[&as_user, admins, "--dry-run=server"]).await?;
        Ok(!others.status && its.status)
    })
    .await
}
