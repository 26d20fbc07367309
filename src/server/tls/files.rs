//! A certificate from two files, kept equal to them. What does not hold changes nothing: the
//! certificate in use stays, or there is none yet, and the fault is told once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::options::Paths;
use super::pair::{Pair, Unfit};
use crate::clock::Clock;

/// The content is compared, not the time of change: mounts swap a symlink.
const EVERY: Duration = Duration::from_secs(2);
/// A chain has some kilobytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The two files give no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "{path} cannot be read: {why}. Check what is mounted there, and that user 65532 may read it"
    )]
    Unreadable { path: String, why: String },
    #[error(
        "{why}. Check with: openssl x509 -noout -subject -enddate -in {certificate} && openssl pkey \
         -noout -check -in {key} (and that `openssl x509 -noout -pubkey` and `openssl pkey -pubout` \
         print the same)"
    )]
    Unfit {
        why: Unfit,
        certificate: String,
        key: String,
    },
}

type Receivers = (
    watch::Receiver<Option<Pair>>,
    watch::Receiver<Option<String>>,
);

/// Reads the files and keeps looking until every receiver is dropped.
pub async fn follow(paths: Paths, clock: Arc<dyn Clock>) -> Receivers {
    let (pairs, mut held) = watch::channel(None);
    let (faults, mut fault) = watch::channel(None);
    let mut follower = Follower {
        paths,
        clock,
        seen: None,
        pairs,
        faults,
    };
    follower.look().await;
    held.mark_unchanged();
    fault.mark_unchanged();
    tokio::spawn(follower.run());
    (held, fault)
}

struct Follower {
    paths: Paths,
    clock: Arc<dyn Clock>,
    /// The content that was judged last: only its digest, so that the key lies nowhere.
    seen: Option<Result<[u8; 32], Refused>>,
    pairs: watch::Sender<Option<Pair>>,
    faults: watch::Sender<Option<String>>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.pairs.closed() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let read = Texts::read(&self.paths).await;
        let seen = read.as_ref().map(Texts::fingerprint).map_err(Clone::clone);
        let now = self.clock.now().timestamp();
        let judged = self.seen.replace(seen.clone()) == Some(seen);
        let serves = self.pairs.borrow().is_some();
        if judged && serves {
            self.expiry(now);
            return;
        }
        let path = self.paths.certificate.display().to_string();
        match read.and_then(|texts| texts.pair(&self.paths, now)) {
            Ok(pair) => {
                tracing::info!(path, until = %pair.until(), "certificate read");
                self.pairs.send_replace(Some(pair));
                self.faults.send_if_modified(|held| held.take().is_some());
            }
            // Without one, what was refused by a wrong clock is judged again and again.
            Err(_) if judged => {}
            Err(refused) => {
                let so = if serves {
                    "the previous one stays in use"
                } else {
                    "until another is there the agent API serves nobody"
                };
                tracing::error!(path, error = %refused, "certificate refused; {so}");
                self.faults.send_replace(Some(refused.to_string()));
            }
        }
    }

    /// The files are as they were; the certificate in use may have ended meanwhile.
    fn expiry(&self, now: Timestamp) {
        let until = self.pairs.borrow().as_ref().map(Pair::until);
        let Some(until) = until.filter(|until| *until <= now) else {
            return;
        };
        if self.faults.borrow().is_none() {
            let fault = Refused::unfit(Unfit::Expired(until), &self.paths);
            tracing::error!(error = %fault, "no new certificate was mounted in time");
            self.faults.send_replace(Some(fault.to_string()));
        }
    }
}

/// What the files hold.
struct Texts {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Texts {
    async fn read(paths: &Paths) -> Result<Self, Refused> {
        Ok(Self {
            certificate: read(&paths.certificate).await?,
            key: read(&paths.key).await?,
        })
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&SHA256);
        context.update(&self.certificate.len().to_be_bytes());
        context.update(&self.certificate);
        context.update(&self.key);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        fingerprint
    }

    fn pair(&self, paths: &Paths, now: Timestamp) -> Result<Pair, Refused> {
        let pair = Pair::read(&self.certificate, &self.key, now);
        pair.map_err(|why| Refused::unfit(why, paths))
    }
}

impl Refused {
    fn unfit(why: Unfit, paths: &Paths) -> Self {
        Self::Unfit {
            why,
            certificate: paths.certificate.display().to_string(),
            key: paths.key.display().to_string(),
        }
    }
}

async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let unreadable = |why: String| Refused::Unreadable {
        path: path.display().to_string(),
        why,
    };
    let failed = |error: std::io::Error| unreadable(error.kind().to_string());
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    // Whole from the start: a buffer that grows leaves pieces of the key behind.
    let room = usize::try_from(MAX_BYTES).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let mut file = file.take(MAX_BYTES + 1);
    file.read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unreadable(format!("it is over {} KiB", MAX_BYTES / 1024)));
    }
    Ok(bytes)
}
