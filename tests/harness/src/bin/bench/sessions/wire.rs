//! One kept connection over TLS, as cheap as it gets: what is sent was written before, and of an answer
//! no more is read than where it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const OK: &[u8] = b"HTTP/1.1 200 ";
const LENGTH: &[u8] = b"\r\ncontent-length: ";

#[derive(Debug)]
pub struct Connection {
    tls: ClientConnection,
    pub socket: TcpStream,
    answer: Vec<u8>,
    filled: usize,
}

/// What the load trusts.
pub fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Connection {
    /// Ready for the first request; from then on nothing here blocks.
    pub fn open(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut tls = ClientConnection::new(tls, ServerName::try_from("localhost")?)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self {
            tls,
            socket,
            answer: vec![0; 64 * 1024],
            filled: 0,
        })
    }

    /// Sends a whole request: its answer must be awaited before the next.
    pub fn send(&mut self, request: &[u8]) -> Result<()> {
        self.filled = 0;
        self.tls.writer().write_all(request)?;
        while self.tls.wants_write() {
            // It fits into the socket's buffer, which is empty.
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Takes what has come; the body when the answer is whole, which must be a success.
    pub fn receive(&mut self) -> Result<Option<&[u8]>> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(read) => ensure!(read > 0, "the connection ended within an answer"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let state = self.tls.process_new_packets()?;
        let here = state.plaintext_bytes_to_read();
        let room = self.answer.get_mut(self.filled..self.filled + here);
        self.tls
            .reader()
            .read_exact(room.context("an answer too long")?)?;
        self.filled += here;
        let so_far = self.answer.get(..self.filled).unwrap_or_default();
        let Some(head) = find(so_far, b"\r\n\r\n") else {
            return Ok(None);
        };
        let whole = head + 4 + length(so_far.get(..head).unwrap_or_default())?;
        if self.filled < whole {
            return Ok(None);
        }
        let text = || String::from_utf8_lossy(so_far).into_owned();
        ensure!(so_far.starts_with(OK), "refused: {}", text());
        Ok(self.answer.get(head + 4..whole))
    }
}

fn length(head: &[u8]) -> Result<usize> {
    let at = find(head, LENGTH).context("an answer without its length")?;
    let rest = head.get(at + LENGTH.len()..).unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |so_far, digit| 10 * so_far + usize::from(digit - b'0')))
}

/// The answers' heads are short.
fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|here| here == what)
}
