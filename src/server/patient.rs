//! A connection whose peer must take what it is sent: an answer that nobody reads, or that is read by
//! a byte at a time, would stay in memory for as long.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// From the first byte of an answer to the last.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    /// Runs while something is written and not flushed.
    ends: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, ends: None }
    }

    /// What the peer does not take yet is waited for, until it is too late.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let ends = self.ends.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if ends.as_mut().poll(cx).is_ready() {
            let why = "the peer does not read its answer";
            return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, why)));
        }
        write(Pin::new(&mut self.stream), cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.ends.is_none() {
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        let flushed = ready!(self.write(cx, S::poll_flush));
        self.ends = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write(cx, S::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const ANSWER: [u8; 4096] = [7; 4096];

    async fn sent(to: &mut Patient<impl AsyncWrite + Unpin>) -> Result<()> {
        to.write_all(&ANSWER).await?;
        to.flush().await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_the_connection() {
        for bytes in [0, 1, 64] {
            let (near, mut far) = duplex(256);
            let mut near = Patient::new(near);
            let since = Instant::now();
            let reading = async {
                let mut few = vec![0; bytes];
                loop {
                    sleep(Duration::from_secs(1)).await;
                    if bytes > 0 {
                        far.read_exact(&mut few).await.expect("something");
                    }
                }
            };
            let failed = tokio::select! {
                sent = sent(&mut near) => sent.expect_err("not taken"),
                () = reading => unreachable!("for ever"),
            };
            assert_eq!(failed.kind(), ErrorKind::TimedOut);
            assert_eq!(since.elapsed().as_secs(), PATIENCE.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_may_be_silent_for_long() {
        let (near, mut far) = duplex(256);
        let mut near = Patient::new(near);
        let reading = tokio::spawn(async move {
            let mut all = vec![0; 2 * ANSWER.len()];
            far.read_exact(&mut all).await.map(drop)
        });
        sent(&mut near).await.expect("taken");
        sleep(2 * PATIENCE).await;
        sent(&mut near).await.expect("taken again");
        reading.await.expect("ended").expect("read");
    }
}
