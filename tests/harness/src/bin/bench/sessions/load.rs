//! The load: one thread for all connections, which never sleeps. What a thread that sleeps costs to wake is
//! paid by whoever sends to it: here that would be the server, as no workload's would be.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustls::ClientConfig;

use super::cores::Cores;
use super::wire::Connection;
use crate::machine::ticks;
use crate::stats;

/// Until everything is remembered that will be.
const WARM: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// A connection sends as soon as it has its answer.
    AsFastAsAnswered,
    /// All connections together, evenly, whether or not the answers keep up.
    PerSecond(f64),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsFastAsAnswered => f.write_str("as fast as answered"),
            Self::PerSecond(calls) => write!(f, "{calls:.0} a second"),
        }
    }
}

/// What is sent, over one connection for each lane.
pub struct Load<'a> {
    pub cores: &'a Cores,
    /// The process or thread whose time is counted.
    pub server: String,
    pub tls: Arc<ClientConfig>,
    pub address: SocketAddr,
    /// Whole requests, sent in turn.
    pub lanes: Arc<[Vec<Vec<u8>>]>,
}

/// One round.
#[derive(Debug)]
pub struct Seen {
    calls: f64,
    seconds: f64,
    /// Seconds of a core.
    server: f64,
    /// From when a call was to be sent to its answer, in order.
    latencies: Vec<f64>,
}

impl Seen {
    pub fn per_second(&self) -> f64 {
        self.calls / self.seconds
    }

    pub fn per_core_second(&self) -> f64 {
        self.calls / self.server
    }

    pub fn server_share(&self) -> f64 {
        self.server / self.seconds
    }

    pub fn quantile(&self, share: f64) -> f64 {
        stats::quantile(&self.latencies, share)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} a second, {:.0} a second of one core ({:.0} %), p50 {:.2} ms, p99 {:.2} ms",
            self.per_second(),
            self.per_core_second(),
            100.0 * self.server_share(),
            1e3 * self.quantile(0.5),
            1e3 * self.quantile(0.99),
        )
    }
}

impl Load<'_> {
    /// One round, on a thread and core of its own.
    pub async fn run(&self, pace: Pace) -> Result<Seen> {
        let round = Round {
            cores: *self.cores,
            server: self.server.clone(),
            tls: self.tls.clone(),
            address: self.address,
            lanes: self.lanes.clone(),
            pace,
        };
        let (tell, told) = tokio::sync::oneshot::channel();
        thread::spawn(move || tell.send(round.run()));
        told.await.context("the load ended")?
    }
}

struct Round {
    cores: Cores,
    server: String,
    tls: Arc<ClientConfig>,
    address: SocketAddr,
    lanes: Arc<[Vec<Vec<u8>>]>,
    pace: Pace,
}

/// A connection and what is sent over it.
struct Lane<'a> {
    connection: Connection,
    requests: std::iter::Cycle<std::slice::Iter<'a, Vec<u8>>>,
    /// When the next call is to be sent, or the present one was.
    due: Instant,
    waiting: bool,
}

impl Round {
    fn run(&self) -> Result<Seen> {
        self.cores.load()?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut lanes = self.open(&poll)?;
        let mut count = Count::default();
        let begin = Instant::now();
        let mut before = None;
        let mut events = Vec::with_capacity(lanes.len());
        loop {
            let now = Instant::now();
            if before.is_none() && now >= begin + WARM {
                before = Some(self.look(now, &count)?);
                count.latencies.clear();
            }
            if let Some(before) = before.as_ref().filter(|before| now >= before.at + ROUND) {
                let after = self.look(now, &count)?;
                return Ok(before.until(&after, count.latencies));
            }
            self.send(&mut lanes, now)?;
            events.clear();
            epoll::wait(
                &poll,
                spare_capacity(&mut events),
                Some(&Timespec::default()),
            )?;
            for event in &events {
                let lane = usize::try_from(event.data.u64())?;
                let lane = lanes.get_mut(lane).context("a lane")?;
                if lane.connection.receive()?.is_some() {
                    count.calls += 1;
                    count.latencies.push(lane.due.elapsed().as_secs_f64());
                    lane.waiting = false;
                    lane.due += self.between();
                }
            }
        }
    }

    /// Connections whose turns are spread evenly.
    fn open(&self, poll: &OwnedFd) -> Result<Vec<Lane<'_>>> {
        let mut lanes = Vec::new();
        for (number, requests) in (0..).zip(self.lanes.iter()) {
            let connection = Connection::open(self.address, self.tls.clone())?;
            let data = epoll::EventData::new_u64(number);
            epoll::add(poll, &connection.socket, data, epoll::EventFlags::IN)?;
            lanes.push(Lane {
                connection,
                requests: requests.iter().cycle(),
                due: Instant::now(),
                waiting: false,
            });
        }
        let begin = Instant::now();
        for (number, lane) in (0..).zip(&mut lanes) {
            lane.due = begin + self.between() * number / self.count();
        }
        Ok(lanes)
    }

    /// Sends what is due.
    fn send(&self, lanes: &mut [Lane<'_>], now: Instant) -> Result<()> {
        for lane in lanes.iter_mut().filter(|lane| !lane.waiting) {
            if let Pace::AsFastAsAnswered = self.pace {
                lane.due = now;
            }
            if lane.due > now {
                continue;
            }
            let request = lane.requests.next().context("a request")?;
            lane.connection.send(request)?;
            lane.waiting = true;
        }
        Ok(())
    }

    /// The time from one call of a connection to its next.
    fn between(&self) -> Duration {
        match self.pace {
            Pace::AsFastAsAnswered => Duration::ZERO,
            Pace::PerSecond(calls) => Duration::from_secs_f64(f64::from(self.count()) / calls),
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.lanes.len()).unwrap_or(u32::MAX)
    }

    fn look(&self, at: Instant, count: &Count) -> Result<Look> {
        Ok(Look {
            at,
            calls: count.calls,
            server: ticks(&self.server)?,
        })
    }
}

#[derive(Default)]
struct Count {
    calls: u32,
    latencies: Vec<f64>,
}

/// What the clocks say at one moment.
struct Look {
    at: Instant,
    calls: u32,
    server: u64,
}

impl Look {
    fn until(&self, after: &Self, mut latencies: Vec<f64>) -> Seen {
        latencies.sort_by(f64::total_cmp);
        let seconds = |ticks: u64| Duration::from_millis(10 * ticks).as_secs_f64();
        Seen {
            calls: f64::from(after.calls - self.calls),
            seconds: (after.at - self.at).as_secs_f64(),
            server: seconds(after.server - self.server),
            latencies,
        }
    }
}
