//! The port of a metadata service opens and closes; what is said on it is that service's business.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::pipeline;
use crate::socket::Socket;
use crate::world::{World, lock};

/// One plain HTTP port. It stays ours while nothing listens on it: one socket holds it all the time,
/// and the kernel refuses connections to a socket that is bound and does not listen.
#[derive(Debug)]
pub(crate) struct Listening {
    runtime: Handle,
    /// Under this name its requests appear in calls and faults.
    host: &'static str,
    address: SocketAddr,
    _held: TcpSocket,
    open: Mutex<Option<JoinHandle<()>>>,
}

impl Listening {
    pub(crate) fn reserve(runtime: Handle, host: &'static str) -> anyhow::Result<Self> {
        let held = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self {
            runtime,
            host,
            address: held.local_addr()?,
            _held: held,
            open: Mutex::new(None),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn start(&self, world: &Arc<World>) -> anyhow::Result<()> {
        let mut open = lock(&self.open);
        if open.is_none() {
            let _entered = self.runtime.enter();
            let listener = bind(self.address)?
                .listen(1024)
                .context("listening for a metadata service")?;
            *open = Some(
                self.runtime
                    .spawn(run(Arc::downgrade(world), listener, self.host)),
            );
        }
        Ok(())
    }

    pub(crate) fn stop(&self) {
        if let Some(task) = lock(&self.open).take() {
            task.abort();
            // The listener closes when the runtime drops the task, a moment after the abort.
            while !task.is_finished() {
                std::thread::yield_now();
            }
        }
    }
}

/// `SO_REUSEPORT` lets the listener have the port that is held.
fn bind(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket
        .bind(address)
        .context("a loopback port for a metadata service")?;
    Ok(socket)
}

async fn run(world: std::sync::Weak<World>, listener: TcpListener, host: &'static str) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let Some(world) = world.upgrade() else { return };
        let socket = Socket::new(stream);
        let reset = socket.reset();
        connections.spawn(pipeline::serve(world, host.to_owned(), socket, reset));
    }
}
