//! Three replicas of one installation, each with ways of its own, and what a workload gets from each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Agent, Env, Operator, Ways, Workload};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub const REPLICAS: usize = 3;
/// How often each call is made for each tenant at each replica.
const PACE: Duration = Duration::from_millis(800);
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Replica {
    pub name: &'static str,
    pub ways: Ways,
    pub agent: Agent,
    /// Ends with this.
    _operator: Operator,
}

/// The holder first.
pub async fn start(env: &Env) -> Result<Vec<Replica>> {
    let mut replicas = Vec::new();
    for name in ["holder", "second", "third"] {
        let ways = Ways::new(env, name).await?;
        let operator = env.spawn(ways.alone(env.agent_options())).await?;
        let agent = env.agent(&operator).await?;
        if replicas.is_empty() {
            let since = Instant::now();
            while !operator.metrics().await?.contains("tenantkms_holder 1") {
                ensure!(since.elapsed() < PATIENCE, "it does not take the shard");
                sleep(Duration::from_millis(100)).await;
            }
        }
        replicas.push(Replica {
            name,
            ways,
            agent,
            _operator: operator,
        });
    }
    Ok(replicas)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Session,
    Decrypt,
}

impl Kind {
    pub const BOTH: [Self; 2] = [Self::Session, Self::Decrypt];

    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Decrypt => "decrypt",
        }
    }
}

/// A call that was served.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    pub asked: Instant,
    pub answered: Instant,
}

/// What a workload does with one tenant, and what it was given last by any replica.
#[derive(Debug)]
pub struct Use {
    app: Workload,
    ciphertext: String,
    session: Mutex<String>,
}

impl Use {
    pub async fn begin(app: Workload, agent: &Agent) -> Result<Self> {
        let session = app.begin(agent).await?;
        let ciphertext = app.seal(agent, &session, "hello").await?;
        Ok(Self {
            app,
            ciphertext,
            session: Mutex::new(session),
        })
    }

    /// Whether it was served. What went wrong is not told apart: nothing was given.
    async fn call(&self, kind: Kind, agent: &Agent) -> bool {
        match kind {
            Kind::Session => match self.app.begin(agent).await {
                Ok(session) => {
                    *lock(&self.session) = session;
                    true
                }
                Err(_) => false,
            },
            Kind::Decrypt => {
                let session = lock(&self.session).clone();
                let answer = self.app.decrypt(agent, &session, &self.ciphertext).await;
                answer.is_ok_and(|answer| answer.is_ok())
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One kind of call, made for one tenant at one replica again and again.
#[derive(Debug)]
pub struct Poll {
    pub tenant: usize,
    pub replica: usize,
    pub kind: Kind,
    served: Arc<Mutex<Option<Served>>>,
}

impl Poll {
    /// The last that was served.
    pub fn last(&self) -> Option<Served> {
        *lock(&self.served)
    }
}

/// Calls until dropped.
#[derive(Debug, Default)]
pub struct Polls {
    pub all: Vec<Poll>,
    tasks: JoinSet<()>,
}

impl Polls {
    /// Both kinds of call, from `after` on.
    pub fn add(
        &mut self,
        tenant: usize,
        replica: usize,
        used: &Arc<Use>,
        agent: &Agent,
        after: Duration,
    ) {
        for kind in Kind::BOTH {
            let served = Arc::default();
            self.all.push(Poll {
                tenant,
                replica,
                kind,
                served: Arc::clone(&served),
            });
            let (used, agent) = (Arc::clone(used), agent.clone());
            let after = after + PACE.mul_f64(crate::spread(self.all.len()));
            self.tasks.spawn(async move {
                sleep(after).await;
                let mut ticks = tokio::time::interval(PACE);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let asked = Instant::now();
                    if used.call(kind, &agent).await {
                        let answered = Instant::now();
                        *lock(&served) = Some(Served { asked, answered });
                    }
                }
            });
        }
    }

    /// Waits until each was served since now.
    pub async fn served(&self) -> Result<()> {
        let since = Instant::now();
        loop {
            let open = self.all.iter().find(|poll| {
                let last = poll.last();
                last.is_none_or(|last| last.asked < since)
            });
            let Some(open) = open else { return Ok(()) };
            ensure!(since.elapsed() < PATIENCE, "never served: {open:?}");
            sleep(PACE).await;
        }
    }

    /// How long after `since` each poll of this replica and kind was served last; zero for never. Fails
    /// when one was asked for later than `limit`.
    pub fn after(
        &self,
        replica: usize,
        kind: Kind,
        since: impl Fn(usize) -> Result<Instant>,
        limit: Duration,
    ) -> Result<Vec<Duration>> {
        let these = self.all.iter();
        let these = these.filter(|poll| poll.replica == replica && poll.kind == kind);
        let mut after = Vec::new();
        for poll in these {
            let since = since(poll.tenant)?;
            let Some(last) = poll.last() else {
                after.push(Duration::ZERO);
                continue;
            };
            let late = last.asked.saturating_duration_since(since);
            ensure!(late <= limit, "served {late:?} later: {poll:?}");
            after.push(last.answered.saturating_duration_since(since));
        }
        Ok(after)
    }
}

/// When the last request was sent to this host that had its answer before the replica was cut off.
pub fn last_proof(ways: &Ways, host: &str, cut: Instant) -> Result<Instant> {
    let answered = ways.cloud.all().into_iter().filter(|one| {
        one.host.as_deref() == Some(host) && one.ended.is_some_and(|ended| ended < cut)
    });
    let last = answered.map(|one| one.begun).max();
    last.with_context(|| format!("{host} was never called"))
}
