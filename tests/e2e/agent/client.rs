//! The client of workloads (`tenant_kms::client`) with a real operator: what it sends is what the
//! operator takes, and what it makes of every answer is what the guide says.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::Operator;
use serde_json::json;
use tempfile::TempDir;
use tenant_kms::client::{Category, Client, Error, Item, Kind, Options};
use tokio::time::{Instant, sleep};

use super::{SOON, Scene, erase_first, rotate};
use crate::seen::{eventually, patch};

/// A workload's files, and the client that reads them.
struct Mounted {
    folder: TempDir,
    client: Client,
    tenant: String,
}

impl Mounted {
    async fn new(scene: &Scene) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let client = Client::new(Options {
            url: scene.agent.url.clone(),
            token_file: folder.path().join("token"),
            ca_file: folder.path().join("ca.crt"),
            ..Options::default()
        })?;
        fs::write(folder.path().join("ca.crt"), scene.world.env.ca().await?)?;
        let mounted = Self {
            folder,
            client,
            tenant: scene.app.tenant.clone(),
        };
        mounted.token(&scene.app.token)?;
        Ok(mounted)
    }

    fn token(&self, token: &str) -> Result<()> {
        Ok(fs::write(self.path("token"), token)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn reads(&self, ciphertext: &[u8]) -> Result<String, Error> {
        let text = self.client.decrypt(&self.tenant, ciphertext, b"1").await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Asks until it is refused like that.
    async fn refused(&self, kind: Kind, ciphertext: &[u8]) -> Result<Error> {
        let deadline = Instant::now() + SOON;
        loop {
            let answer = self.reads(ciphertext).await;
            match answer {
                Err(error) if error.kind() == kind => return Ok(error),
                _ => ensure!(Instant::now() < deadline, "not {kind:?}: {answer:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Stops the replica and starts another in its place, at the same address.
async fn restart(scene: &Scene, between: impl AsyncFnOnce() -> Result<()>) -> Result<Operator> {
    scene.operator.terminate().await?;
    between().await?;
    let address = scene.agent.url.trim_start_matches("https://");
    let env = &scene.world.env;
    let options = env.agent_options().option("--listen", address);
    let operator = env.spawn(options).await?;
    operator.until_ready(SOON).await?;
    Ok(operator)
}

#[tokio::test]
async fn what_it_sends_is_what_the_operator_takes() -> Result<()> {
    let scene = &Scene::new("client").await?;
    let mounted = &Mounted::new(scene).await?;
    let (client, tenant) = (&mounted.client, &*mounted.tenant);
    let large = vec![7; 512 * 1024];
    let aad = vec![b'a'; 8 * 1024];
    for (plaintext, aad) in [
        (&b"hello"[..], &b"1"[..]),
        (b"", b""),
        (&large, b""),
        (b"hello", &aad),
    ] {
        let sealed = client.encrypt(tenant, plaintext, aad).await?;
        let opened = client.decrypt(tenant, &sealed.bytes, aad).await?;
        ensure!(**opened == *plaintext, "{} bytes", plaintext.len());
        let other = client.decrypt(tenant, &sealed.bytes, b"2").await;
        let kind = other.err().map(|error| error.kind());
        ensure!(kind == Some(Kind::CiphertextInvalid), "{kind:?}");
    }
    for refused in [
        client
            .encrypt(tenant, &[&large[..], b"x"].concat(), b"")
            .await,
        client
            .encrypt(tenant, b"hello", &[&aad[..], b"x"].concat())
            .await,
    ] {
        let kind = refused.err().map(|error| error.kind());
        ensure!(kind == Some(Kind::PayloadTooLarge), "{kind:?}");
    }

    // What needs a right of its own, and a tenant that is none of the caller's.
    let other = tenant.replace("acme", "birch");
    for refused in [
        client.data_key(tenant, b"").await.map(|_| ()),
        client.encrypt(&other, b"hello", b"").await.map(|_| ()),
    ] {
        let error = refused.err().context("allowed")?;
        ensure!(error.category() == Category::Denied && error.kind() == Kind::Forbidden);
        ensure!(error.to_string().contains("kubectl create role"), "{error}");
    }
    scene.world.env.let_use("app", "acme", "datakey").await?;
    // A refusal is remembered for ten seconds.
    let allowed = async || Ok(client.data_key(tenant, b"file").await.is_ok());
    eventually("a data key", SOON, allowed).await?;
    let key = client.data_key(tenant, b"file").await?;
    let bytes = key.expose().context("over")?.to_vec();
    let again = client
        .open_data_key(tenant, &key.ciphertext().bytes, b"file")
        .await?;
    ensure!(bytes.len() == 32 && again.expose() == Some(&*bytes));
    for key in [key, again] {
        let left = key.keep_until().duration_since(jiff::Timestamp::now());
        ensure!((1..=60).contains(&left.as_secs()), "for {left}");
    }
    Ok(())
}

#[tokio::test]
async fn it_encrypts_anew_after_a_rotation() -> Result<()> {
    let scene = &Scene::new("client-rewrap").await?;
    let mounted = &Mounted::new(scene).await?;
    let (client, tenant) = (&mounted.client, &*mounted.tenant);
    let old = client.encrypt(tenant, b"hello", b"1").await?;
    rotate(&scene.world).await?;
    let rotated = async || {
        let new = client.encrypt(tenant, b"hello", b"1").await?;
        ensure!(mounted.reads(&old.bytes).await? == "hello");
        Ok(new.key_id != old.key_id)
    };
    eventually("another master key", SOON, rotated).await?;
    let item = |ciphertext| Item {
        ciphertext,
        aad: b"1",
    };
    let items = [item(&old.bytes), item(b"damaged"), item(&old.bytes)];
    let again = client.rewrap(tenant, &items).await?;
    let [Ok(first), Err(damaged), Ok(_)] = &again[..] else {
        anyhow::bail!("{again:?}");
    };
    ensure!(first.key_id != old.key_id && damaged.kind() == Kind::CiphertextInvalid);
    ensure!(mounted.reads(&first.bytes).await? == "hello");

    erase_first(&scene.world.env, &old.key_id).await?;
    // Its session began with the key that is no more: it gets another one, unasked.
    let gone = mounted.refused(Kind::KeyErased, &old.bytes).await?;
    ensure!(gone.category() == Category::Denied);
    ensure!(mounted.reads(&first.bytes).await? == "hello");
    let again = client.rewrap(tenant, &items[..1]).await?;
    let kind = again[0].as_ref().err().map(Error::kind);
    ensure!(kind == Some(Kind::KeyErased), "{again:?}");
    Ok(())
}

#[tokio::test]
async fn it_goes_on_through_everything_that_passes() -> Result<()> {
    let scene = &Scene::new("client-life").await?;
    let mounted = &Mounted::new(scene).await?;
    let world = &scene.world;
    let sealed = mounted
        .client
        .encrypt(&mounted.tenant, b"hello", b"1")
        .await?;
    let works = async || match mounted.reads(&sealed.bytes).await {
        Ok(text) => Ok(text == "hello"),
        // Until then it says nothing but that.
        Err(error) => {
            ensure!(error.category() != Category::Invalid, "{error}");
            Ok(false)
        }
    };

    world.key.disable();
    let error = mounted.refused(Kind::TenantSealed, &sealed.bytes).await?;
    ensure!(error.category() == Category::Sealed && error.to_string().contains("KeyDisabled"));
    world.key.enable();
    let ask = json!({ "metadata": { "annotations": {
        "tenantkms.dev/unseal-requested-at": "now" } } });
    patch(&world.env, "acme", false, "merge", &ask.to_string()).await?;
    eventually("the customer's yes", 2 * SOON, works).await?;

    // The kubelet's next token, another's, and none.
    let env = &world.env;
    mounted.token(&env.token("app", None).await?)?;
    ensure!(works().await?);
    mounted.token(&env.token_for("app", None, "another").await?)?;
    let error = mounted.reads(&sealed.bytes).await.err();
    let error = error.context("a token for somebody else was taken")?;
    ensure!(error.kind() == Kind::Unauthenticated && error.category() == Category::Denied);
    fs::remove_file(mounted.path("token"))?;
    let error = mounted.reads(&sealed.bytes).await.err();
    ensure!(error.map(|error| error.kind()) == Some(Kind::FileUnreadable));
    mounted.token(&env.token("app", None).await?)?;
    ensure!(works().await?);

    let operator = restart(scene, async || {
        let error = mounted.reads(&sealed.bytes).await.err();
        let error = error.context("served by nobody")?;
        ensure!(error.category() == Category::Unavailable, "{error}");
        Ok(())
    })
    .await?;
    eventually("the next replica", 2 * SOON, works).await?;
    drop(operator);
    Ok(())
}
