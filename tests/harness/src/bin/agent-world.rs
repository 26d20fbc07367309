//! A world with the agent API in it, for tests in other languages: a control plane of its own, the
//! loopback Azure, the tenant `tenants/acme` and the operator. It is arranged by one JSON object for
//! each line of the input, and answers each with one; the first line of the output is the world's own.
//! At the end of the input it ends.
//!
//! `{"do":"kubectl","args":[…],"input":…}` answers `{"said":…}`; `{"do":"token","account":…}`
//! `{"token":…}`, and makes the account; `{"do":"replica"}` one more `{"url":…}`; `{"do":"masterKeys"}`
//! `{"tenantUid":…,"keys":{ID: BASE64}}`, as the customer can open what is on record. The others answer
//! `{}`: `key` (`"to":"disable"|"enable"|"rotate"`), `retired` (former master keys are so for long),
//! `cloud` (`"hang"|"heal"`), `api` (`"stop"`) and `limits` (`"yaml":…`).

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakecloud::FaultId;
use harness::{Component, ControlPlane, Customer, Env, Names, Operator, example};
use serde_json::{Value, json};

struct World {
    // Dropped first: nothing is asked of a world that is half gone.
    operators: Vec<Operator>,
    hung: Option<FaultId>,
    acme: Customer,
    config: String,
    env: Env,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut world = World::new().await?;
    let first = world.operators.first().context("an operator")?;
    let agent = world.env.agent(first).await?;
    let namespace = &world.env.operator_namespace;
    let get = ["get", "configmap", "tenant-kms-ca", "--output", "json"];
    let get = [&get[..], &["--namespace", namespace]].concat();
    let map = world.env.control.kubectl(&get).await?.success()?;
    let map: Value = serde_json::from_str(&map)?;
    tell(&json!({ "url": agent.url, "ca": map["data"]["ca.crt"] }))?;
    for line in stdin().lock().lines() {
        let asked = serde_json::from_str(&line?)?;
        tell(&world.arrange(&asked).await?)?;
    }
    Ok(())
}

fn tell(answer: &Value) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

impl World {
    async fn new() -> Result<Self> {
        let control = Arc::new(ControlPlane::start().await?);
        let env = Env::named(control, Names::documented()).await?;
        let tenant = example("azure-client-secret/tenant.yaml")?;
        let acme = Customer::of(&env, &tenant, &env.issuer().await?)?;
        env.configure([&acme]);
        let operator = env.spawn(env.agent_options()).await?;
        let verify = json!({ "interval": "5s", "proofTTL": "1m" });
        env.bring(&acme, verify).await?;
        Ok(Self {
            operators: vec![operator],
            hung: None,
            config: std::fs::read_to_string(&env.config)?,
            acme,
            env,
        })
    }

    async fn master_keys(&self) -> Result<Value> {
        let namespace = ["--namespace", &self.env.records_namespace];
        let select = ["--selector", "tenantkms.dev/tenant-name=acme"];
        let get = ["get", "secrets", "--output", "json"];
        let get = [&get[..], &namespace, &select].concat();
        let found = self.env.control.kubectl(&get).await?.success()?;
        let found: Value = serde_json::from_str(&found)?;
        let bytes = |value: &Value| anyhow::Ok(STANDARD.decode(value.as_str().context("base64")?)?);
        let record: Value =
            serde_json::from_slice(&bytes(&found["items"][0]["data"]["record.json"])?)?;
        let keyring = &record["keyring"];
        let kek = keyring["kek"]["version"].as_str().context("a version")?;
        let mut keys = json!({});
        for version in keyring["versions"].as_array().context("versions")? {
            let id = version["id"].as_str().context("an id")?;
            let key = self.acme.open(kek, &bytes(&version["wrapped"])?);
            keys[id] = STANDARD.encode(key.context("it does not open")?).into();
        }
        Ok(json!({ "tenantUid": record["tenantUid"], "keys": keys }))
    }

    async fn arrange(&mut self, asked: &Value) -> Result<Value> {
        let text = |name: &str| asked[name].as_str().with_context(|| format!("no {name}"));
        match text("do")? {
            "kubectl" => {
                let args: Vec<String> = serde_json::from_value(asked["args"].clone())?;
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let input = asked["input"].as_str().unwrap_or_default();
                let said = self.env.control.kubectl_stdin(&args, input).await?;
                return Ok(json!({ "said": said.success()? }));
            }
            "token" => {
                let account = text("account")?;
                let create = ["create", "serviceaccount", account];
                self.env.kubectl(&create).await?; // it may be there
                return Ok(json!({ "token": self.env.token(account, None).await? }));
            }
            "replica" => {
                let operator = self.env.spawn(self.env.agent_options()).await?;
                let agent = self.env.agent(&operator).await?;
                self.operators.push(operator);
                return Ok(json!({ "url": agent.url }));
            }
            "masterKeys" => return self.master_keys().await,
            "key" => match text("to")? {
                "disable" => self.acme.disable(),
                "enable" => self.acme.enable(),
                "rotate" => {
                    self.acme.rotate();
                }
                other => bail!("a key cannot {other}"),
            },
            "retired" => self.env.long_retired("acme").await?,
            "cloud" => match text("to")? {
                "hang" => self.hung = Some(self.env.cloud.fault(self.acme.outage())),
                "heal" => {
                    let hung = self.hung.take().context("nothing hangs")?;
                    self.env.cloud.clear_fault(hung);
                }
                other => bail!("a cloud cannot {other}"),
            },
            "api" => self.env.control.stop(Component::ApiServer).await?,
            "limits" => {
                let limits = text("yaml")?;
                // One object, so that one more of its fields goes before its end.
                let config = self.config.trim_end().strip_suffix('}');
                let config = config.context("a configuration that is no object")?;
                self.env
                    .write_config(&format!("{config}, \"limits\": {limits}}}"));
            }
            other => bail!("cannot {other}"),
        }
        Ok(json!({}))
    }
}
