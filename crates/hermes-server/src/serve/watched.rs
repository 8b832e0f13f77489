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

use crate::api::Cut;

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
    /// Nanoseconds after `start` at which the state began, or at which something was written.
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
        self.note(BUSY);
    }

    /// Gives back how long the request took.
    pub(super) fn response_begins(&self) -> Duration {
        let began = self.since.load(Ordering::Relaxed);
        Duration::from_nanos(self.note(IDLE).saturating_sub(began))
    }

    /// What it has been at for too long, if it has.
    pub(super) fn overdue(&self, head_within: Duration, idle: Duration) -> Option<Cut> {
        let since = Duration::from_nanos(self.since.load(Ordering::Relaxed));
        let age = self.start.elapsed().saturating_sub(since);
        match self.state.load(Ordering::Relaxed) {
            HEAD if age >= head_within => Some(Cut::SlowHead),
            IDLE if age >= idle => Some(Cut::Idle),
            _ => None,
        }
    }

    /// Notes what is being done from now on. Gives back the time, as it is noted.
    fn note(&self, state: u8) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.since.store(elapsed, Ordering::Relaxed);
        self.state.store(state, Ordering::Relaxed);
        elapsed
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
