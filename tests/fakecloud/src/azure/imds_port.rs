//! The port of IMDS: listening, or reserved while nothing listens on it. It opens and closes; what is
//! said on it is `imds`' business.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::azure::imds::IMDS_HOST;
use crate::pipeline;
use crate::socket::Socket;
use crate::world::{World, lock};

/// The port of IMDS, kept reserved while nothing listens on it.
#[derive(Debug)]
pub(crate) struct Listening {
    runtime: Handle,
    address: SocketAddr,
    port: Mutex<Port>,
}

#[derive(Debug)]
enum Port {
    /// Bound, not listening: the kernel refuses connections and gives the port to nobody else.
    Reserved(TcpSocket),
    Open(JoinHandle<()>),
    Moving,
}

impl Listening {
    pub(crate) fn reserve(runtime: Handle) -> anyhow::Result<Self> {
        let socket = reserve(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        Ok(Self {
            runtime,
            address,
            port: Mutex::new(Port::Reserved(socket)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn start(&self, world: &Arc<World>) -> anyhow::Result<()> {
        let mut port = lock(&self.port);
        let entered = self.runtime.enter();
        *port = match std::mem::replace(&mut *port, Port::Moving) {
            Port::Reserved(socket) => {
                let listener = socket.listen(1024).context("listening for IMDS")?;
                Port::Open(self.runtime.spawn(run(Arc::downgrade(world), listener)))
            }
            other => other,
        };
        drop(entered);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        let mut port = lock(&self.port);
        let entered = self.runtime.enter();
        *port = match std::mem::replace(&mut *port, Port::Moving) {
            Port::Open(task) => {
                task.abort();
                // The listener closes when the runtime drops the task, a moment after the abort.
                while !task.is_finished() {
                    std::thread::yield_now();
                }
                Port::Reserved(reserve(self.address).expect("a port that was ours a moment ago"))
            }
            other => other,
        };
        drop(entered);
    }
}

fn reserve(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).context("a loopback port for IMDS")?;
    Ok(socket)
}

async fn run(world: std::sync::Weak<World>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let Some(world) = world.upgrade() else { return };
        let socket = Socket::new(stream);
        let reset = socket.reset();
        connections.spawn(pipeline::serve(world, IMDS_HOST.to_owned(), socket, reset));
    }
}
