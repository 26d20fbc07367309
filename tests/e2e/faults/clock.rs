//! The wall clock set forward and back under a running operator: it believes no older proof, asks
//! again, and seals nobody. Only `CLOCK_REALTIME` is faked; `CLOCK_BOOTTIME` goes on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::film::is;
use super::scenario;
use super::town::{SOON, Town, last_proof};

const MISSING: &str = "libfaketime is not installed: this test needs the package `faketime` \
    (Debian, Ubuntu: `apt-get install faketime`), or FAKETIME_LIBRARY with the path of \
    libfaketimeMT.so.1";

/// libfaketime's library for programs with threads.
fn library() -> Result<PathBuf> {
    let name = "faketime/libfaketimeMT.so.1";
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    let named = std::env::var_os("FAKETIME_LIBRARY").map(PathBuf::from);
    let installed = folders.iter().map(|folder| Path::new(folder).join(name));
    let mut paths = named
        .map_or_else(|| installed.collect(), |path| vec![path])
        .into_iter();
    paths.find(|path| path.is_file()).context(MISSING)
}

/// The file that libfaketime reads its offset from, replaced in one step.
struct Offset(PathBuf);

impl Offset {
    fn set(&self, seconds: i32) -> Result<()> {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}s\n"))?;
        Ok(std::fs::rename(new, &self.0)?)
    }
}

#[tokio::test]
async fn a_wall_clock_that_jumps_seals_nobody() -> Result<()> {
    scenario(Duration::from_mins(3), async {
        let library = library()?;
        let town = Town::new("clock", &["acme"]).await?;
        let acme = &town.customers[0];
        let offset = Offset(town.env.dir.path().join("faketime"));
        offset.set(0)?;
        let options = town
            .env
            .operator_options()
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", &offset.0)
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
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
            let proof = town.proved(acme, jumped, Duration::from_secs(10)).await;
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
