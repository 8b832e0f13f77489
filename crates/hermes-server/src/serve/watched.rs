//! A stream that notes what happens on it, for the watchdog.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Nothing has come since the last answer, or the answer is still being written.
const IDLE: u8 = 0;
/// Bytes of a head have come, but not all of it.
const HEAD: u8 = 1;
/// A request is being handled; how long that may take is the handler's affair.
const BUSY: u8 = 2;

/// What a connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    state: AtomicU8,
    /// Milliseconds after `start` at which the state began, or at which something was written.
    since: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            state: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
        }
    }

    pub(super) fn request_began(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    pub(super) fn response_begins(&self) {
        self.note(IDLE);
    }

    /// Whether it has been at the same thing for too long.
    pub(super) fn is_over(&self, head_within: Duration, idle: Duration) -> bool {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        let age = self.start.elapsed().saturating_sub(since);
        match self.state.load(Ordering::Relaxed) {
            HEAD => age >= head_within,
            IDLE => age >= idle,
            _ => false,
        }
    }

    fn note(&self, state: u8) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(elapsed, Ordering::Relaxed);
        self.state.store(state, Ordering::Relaxed);
    }

    fn has_read(&self) {
        if self.state.load(Ordering::Relaxed) == IDLE {
            self.note(HEAD);
        }
    }

    fn has_written(&self) {
        if self.state.load(Ordering::Relaxed) == IDLE {
            self.note(IDLE);
        }
    }
}

/// A TCP stream whose reads and writes are noted.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.activity.has_written();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.activity.has_written();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
