//! The wall clock set forward and back under a running operator: it believes no older proof, asks
//! again, and seals nobody. Only `CLOCK_REALTIME` is faked; `CLOCK_BOOTTIME` goes on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::repository;
use tokio::process::Command;

use super::film::is;
use super::scenario;
use super::town::{SOON, Town, last_proof};

/// The library that sets one process's wall clock off, built from `clock_shim.c` with the C compiler
/// that building the operator needs anyway.
async fn library(folder: &Path) -> Result<PathBuf> {
    let source = repository().join("tests/e2e/faults/clock_shim.c");
    let library = folder.join("clock_shim.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{} is needed, a C compiler", compiler.display()))?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "{}: {said}", source.display());
    Ok(library)
}

/// The file that the library reads its offset from, replaced in one step.
struct Offset(PathBuf);

impl Offset {
    fn set(&self, seconds: i32) -> Result<()> {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds}\n"))?;
        Ok(std::fs::rename(new, &self.0)?)
    }
}

#[tokio::test]
async fn a_wall_clock_that_jumps_seals_nobody() -> Result<()> {
    scenario(Duration::from_mins(3), async {
        let town = Town::new("clock", &["acme"]).await?;
        let library = library(town.env.dir.path()).await?;
        let acme = &town.customers[0];
        let offset = Offset(town.env.dir.path().join("clock-offset"));
        offset.set(0)?;
        let options = town
            .env
            .operator_options()
            .env("LD_PRELOAD", library)
            .env("CLOCK_SHIM_OFFSET", &offset.0);
        let operator = town.env.spawn(options).await?;
        // An interval that the jumps fall well inside of.
        let film = town.active(acme, "{ interval: 60s, proofTTL: 2m }").await?;
        let mut shown = 0;
        for (number, jump) in [600, 0, -600, 0].into_iter().enumerate() {
            let before = last_proof(&operator, &acme.name).await?;
            offset.set(jump)?;
            let jumped = Instant::now();
            // Any look at the tenant shows that the clocks disagree.
            let label = format!("wall-clock=jumped-{number}");
            town.env
                .kubectl(&["label", "--overwrite", "tkms", &acme.name, &label])
                .await?
                .success()?;
            let proof = town.proved(acme, jumped, SOON).await;
            let proof = proof.with_context(|| format!("after a jump to {jump:+} s"))?;
            // Dated by the clock as it is now: the jump was really seen.
            let deadline = Instant::now() + SOON;
            let expected = f64::from(jump - shown) + (proof.instant - jumped).as_secs_f64();
            loop {
                let moved = last_proof(&operator, &acme.name).await? - before;
                if (moved - expected).abs() < 60.0 && moved != 0.0 {
                    break;
                }
                ensure!(
                    Instant::now() < deadline,
                    "the proof moved by {moved} s, not {expected}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            shown = jump;
        }
        film.always_active()?;
        // And a no is still a no.
        let revoked = Instant::now();
        acme.revoke();
        town.request(acme, "verify", "now").await?;
        film.until("Sealed", revoked, SOON, |object| {
            is(object, "Sealed", "True")
        })
        .await?;
        Ok(())
    })
    .await
}
