//! The operator's tasks: started together, ended in order.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::prepare::Prepared;
use super::{Args, Fatal, ownership};
use crate::controller;
use crate::server::agent::start as agent;
use crate::server::health;
use crate::server::metrics::Metrics;
use crate::session::held;

pub struct Running {
    /// May be cut off at any point.
    background: JoinSet<()>,
    /// What writes; ends before the lease does.
    watching: JoinSet<()>,
    lease: JoinSet<()>,
    /// Lets the lease go.
    release: watch::Sender<bool>,
    /// The agent API, where there is one.
    serving: JoinSet<()>,
    health: JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub async fn start(
        prepared: Prepared,
        args: &Args,
        ending: watch::Receiver<bool>,
    ) -> Result<Self, Fatal> {
        let ctx = prepared.ctx;
        let mut background = JoinSet::new();
        let events = ctx.events.clone();
        background.spawn(async move { events.run().await });
        let (guests, told) = (ctx.guests.clone(), ctx.metrics.clone());
        let sweep = held::sweep(ctx.keys.clone(), ctx.clock.clone(), move |held| {
            told.set_keys(held, guests.len());
        });
        background.spawn(sweep);
        background.spawn(report_faults(prepared.fault, ctx.metrics.clone()));
        let (release, released) = watch::channel(false);
        let mut lease = JoinSet::new();
        lease.spawn(prepared.elector.run(prepared.own, released));
        let mut watching = JoinSet::new();
        watching.spawn(ownership::follow(
            ctx.clone(),
            prepared.hold,
            ending.clone(),
        ));
        for namespace in prepared.namespaces {
            watching.spawn(controller::run(ctx.clone(), namespace, ending.clone()));
        }
        let agent = match args.listen {
            Some(address) => Some(agent::start(address, &args.tls, &ctx, ending.clone()).await?),
            None => None,
        };
        let readiness = agent.as_ref().map(agent::Listening::readiness);
        let mut serving = JoinSet::new();
        serving.spawn(serve(agent, ending.clone()));
        let health = health::run(
            args.metrics_listen,
            ctx.metrics,
            ctx.syncing,
            readiness,
            ending,
        );
        Ok(Self {
            background,
            watching,
            lease,
            release,
            serving,
            health: tokio::spawn(health),
        })
    }

    /// Until somebody stops the process, or a part ends that should not.
    pub async fn until_end(&mut self) -> Result<(), Fatal> {
        tokio::select! {
            signal = terminated() => signal,
            result = &mut self.health => match result {
                Ok(Err(error)) => Err(Fatal::Listen(error)),
                _ => Err(Fatal::Ended),
            },
            _ = self.watching.join_next() => Err(Fatal::Ended),
            _ = self.background.join_next() => Err(Fatal::Ended),
            _ = self.lease.join_next() => Err(Fatal::Ended),
            _ = self.serving.join_next() => Err(Fatal::Ended),
        }
    }

    /// The watches first, and the lease when nothing is written any more; calls meanwhile.
    pub async fn end(mut self) {
        let in_order = async {
            while self.watching.join_next().await.is_some() {}
            self.release.send_replace(true);
            self.lease.join_next().await
        };
        let last_calls = self.serving.join_next();
        tokio::join!(in_order, last_calls);
    }
}

async fn serve(agent: Option<agent::Listening>, mut stop: watch::Receiver<bool>) {
    match agent {
        Some(agent) => agent.serve().await,
        None => {
            let _ = stop.wait_for(|stop| *stop).await; // an error means the process is ending
        }
    }
}

async fn terminated() -> Result<(), Fatal> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Fatal::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fatal::Signals)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn report_faults(mut fault: watch::Receiver<Option<String>>, metrics: Arc<Metrics>) {
    loop {
        metrics.set_policy_invalid(fault.borrow_and_update().is_some());
        if fault.changed().await.is_err() {
            // Nobody watches the file any more: the process is ending.
            std::future::pending::<()>().await;
        }
    }
}
