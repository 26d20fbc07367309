//! A way from pods to what listens on the node's loopback: the loopback clouds stay where they
//! are. It looks at no byte, and lives as long as its value.

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::ADDRESS;

#[derive(Debug)]
pub(super) struct Forward {
    url: String,
    task: JoinHandle<()>,
}

impl Forward {
    /// Forwards to an address like `http://127.0.0.1:PORT`.
    pub(super) async fn to(url: &str) -> Result<Self> {
        let target = url
            .strip_prefix("http://")
            .with_context(|| format!("not a plain address: {url}"))?
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let target = target.clone();
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        // Either side may end it at any time.
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Ok(Self { url, task })
    }

    /// The address for pods.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
