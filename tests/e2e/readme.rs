//! The README's quick start, taken from the page and carried out as far as it can be without
//! Azure: what needs `az` or Docker is read by a shell and its commands are known ones; the rest
//! runs against the real API server, with the loopback Azure behind the operator.

use std::fs;

use anyhow::{Context, Result, ensure};
use fakecloud::Scope;
use harness::{Env, repository};
use tokio::process::Command;

use crate::support::{CLIENT, DIRECTORY, SOON};

/// Of `az`: what the page may use. Each is in learn.microsoft.com's reference of the Azure CLI.
const AZ: [&str; 9] = [
    "az acr create",
    "az acr login",
    "az aks create",
    "az aks get-credentials",
    "az aks show",
    "az group create",
    "az identity create",
    "az identity federated-credential create",
    "az identity show",
];

/// A shell takes the text; nothing is run.
pub async fn parses(script: &str) -> Result<()> {
    let ran = Command::new("sh")
        .args(["-n", "-c", script])
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{errors}\n{script}");
    Ok(())
}

/// The blocks of one language in the quick start, in order.
fn blocks(language: &str) -> Result<Vec<String>> {
    let page = fs::read_to_string(repository().join("README.md"))?;
    let section = page.split_once("## Quick start on AKS\n");
    let section = section.context("no quick start")?.1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let fence = format!("```{language}\n");
    let blocks = section.split(&fence).skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()));
    Ok(blocks.collect())
}

/// The commands of all blocks, a continued line being one.
fn commands() -> Result<Vec<String>> {
    let text = blocks("sh")?.join("\n").replace("\\\n", " ");
    let lines = text.lines().map(|line| line.split_whitespace());
    let lines = lines.map(|words| words.collect::<Vec<_>>().join(" "));
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

#[tokio::test]
async fn a_shell_reads_every_block_and_every_command_is_a_known_one() -> Result<()> {
    for block in blocks("sh")? {
        parses(&block).await?;
    }
    let (mut known, mut used) = (Vec::new(), AZ.to_vec());
    for command in commands()? {
        let az: Vec<&str> = AZ.into_iter().filter(|az| command.contains(az)).collect();
        used.retain(|one| !az.contains(one));
        let calls = command.matches("az ").count();
        ensure!(az.len() == calls, "not all of az is known in: {command}");
        let first = command.split([' ', '=']).next().unwrap_or_default();
        ensure!(
            ["az", "docker", "helm", "kubectl", "RG", "CLIENT_ID"].contains(&first),
            "{command}"
        );
        known.push(first.to_owned());
    }
    ensure!(used.is_empty(), "listed and not used: {used:?}");
    ensure!(known.len() > 12, "{known:?}");
    Ok(())
}

/// The arguments of a command as a shell gives them, with the page's variables.
async fn arguments(command: &str) -> Result<Vec<String>> {
    let script = format!("CLIENT_ID={CLIENT} REGISTRY=exampleregistry\nprintf '%s\\n' {command}");
    let ran = Command::new("sh").args(["-c", &script]).output().await?;
    ensure!(ran.status.success(), "{command}");
    let text = String::from_utf8(ran.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The only command that begins so.
fn the(start: &str) -> Result<Vec<String>> {
    let all = commands()?.into_iter();
    let found: Vec<_> = all.filter(|command| command.starts_with(start)).collect();
    ensure!(!found.is_empty(), "the page has no {start}");
    Ok(found)
}

#[tokio::test]
async fn the_chart_is_installed_as_the_page_says() -> Result<()> {
    let env = Env::new("readmehelm").await?;
    let values = env.dir.path().join("values.yaml");
    fs::write(&values, blocks("yaml")?.first().context("no values")?)?;
    let install = arguments(&the("helm install")?[0]).await?;
    let place = install.iter().position(|arg| arg == "values.yaml");
    let mut args = install[2..].to_vec();
    args[place.context("values.yaml")? - 2] = values.display().to_string();
    let chart = args.iter().position(|arg| arg.starts_with("charts/"));
    let chart = chart.context("the chart")?;
    args[chart] = repository().join(&args[chart]).display().to_string();
    args.retain(|arg| arg != "--create-namespace");
    let mut template = vec!["template"];
    template.extend(args.iter().map(String::as_str));
    let rendered = env.control.helm(&template).await?.success()?;
    let lint = [&["lint", "--strict", args[chart].as_str()], &template[3..]].concat();
    let linted = env.control.helm(&lint).await?;
    ensure!(linted.status, "{}{}", linted.stdout, linted.stderr);

    // Whom the federated credential of the page trusts is who runs.
    let trusted = &the("az identity federated-credential create")?[0];
    let subject = "--subject system:serviceaccount:tenant-kms-system:tenant-kms-operator";
    ensure!(trusted.contains(subject), "{trusted}");
    for line in [
        "serviceAccountName: tenant-kms-operator",
        "azure.workload.identity/use: \"true\"",
        &format!("azure.workload.identity/client-id: {CLIENT}"),
        "exampleregistry.azurecr.io/tenant-kms-operator:0.1.0",
    ] {
        ensure!(rendered.contains(line), "no {line} in\n{rendered}");
    }
    let rendered = rendered.replace("tenant-kms-system", "default");
    let rendered = rendered.replace("tenant-kms-records", "default");
    let apply = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--force-conflicts",
        "-f",
        "-",
    ];
    let tried = env.control.kubectl_stdin(&apply, &rendered).await?;
    ensure!(tried.status, "{}", tried.stderr);
    Ok(())
}

#[tokio::test]
async fn the_tenant_becomes_ready_as_the_page_says() -> Result<()> {
    let env = Env::new("readme").await?;
    let here = |text: &str| {
        let text = text.replace(
            "namespace: tenants",
            &format!("namespace: {}", env.namespace),
        );
        text.replace("tenants/", &format!("{}/", env.namespace))
    };
    let directory = env.cloud.directory(DIRECTORY);
    let identity = env.cloud.imds().system_assigned(&directory);
    let vault = env.cloud.vault("acme-kv", &directory);
    vault.create_key("tenant-wrapping-key");
    vault.grant(identity, Scope::Vault);
    let values = blocks("yaml")?.remove(0);
    let values: serde_json::Value = serde_yaml_ng::from_str(&values)?;
    env.write_config(&here(&values["config"].to_string()));
    let _operator = env.operator().await?;

    for (onboard, output) in the("kubectl -n tenant-kms-system exec")?
        .iter()
        .zip(["commands", "manifest"])
    {
        let (command, _) = onboard.split_once(" > ").context("into a file")?;
        let (_, own) = command
            .split_once(" -- /tenant-kms ")
            .context("the program")?;
        let args = arguments(own).await?;
        ensure!(
            args.ends_with(&["--output".into(), output.into()]),
            "{args:?}"
        );
        let ran = Command::new(env!("CARGO_BIN_EXE_tenant-kms"))
            .args(&args)
            .output()
            .await?;
        ensure!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let text = String::from_utf8(ran.stdout)?;
        if output == "commands" {
            parses(&text).await?;
        } else {
            env.apply(&here(&text)).await?.success()?;
        }
    }
    let wait = arguments(&the("kubectl -n tenants wait")?[0]).await?;
    let wait: Vec<&str> = wait[3..].iter().map(String::as_str).collect();
    let waited = env.kubectl(&wait).await?;
    ensure!(waited.status, "{}", waited.stderr);
    env.wait_condition("acme", "Ready", "True", Some("Verified"), SOON)
        .await?;
    Ok(())
}
