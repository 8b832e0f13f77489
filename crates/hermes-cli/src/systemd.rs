//! What the service manager hands over, and what it wants to hear.
//!
//! Nothing here does anything unless systemd, or whoever speaks as it does, has set the variables for
//! it: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS`. That it cannot be told something is never a
//! reason to stop serving.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

/// What the service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Requests are answered.
    Ready,
    /// The settings are being read again; `Ready` follows.
    Reloading,
    /// The end has begun.
    Stopping,
    /// All is well.
    Alive,
}

/// The socket to listen on, when one is handed over.
#[cfg(unix)]
pub(crate) fn inherited() -> io::Result<Option<TcpListener>> {
    let mut sockets = listenfd::ListenFd::from_env();
    if sockets.len() > 1 {
        let what = format!(
            "{} sockets were handed over, one is expected",
            sockets.len()
        );
        return Err(io::Error::other(what));
    }
    sockets.take_tcp_listener(0)
}

/// Tells the service manager, if there is one.
#[cfg(unix)]
pub(crate) fn tell(state: State) {
    use sd_notify::NotifyState;
    let states = match state {
        State::Ready => vec![NotifyState::Ready],
        State::Reloading => {
            // Since systemd 253 the second belongs to the first.
            let now = NotifyState::monotonic_usec_now().ok();
            [NotifyState::Reloading].into_iter().chain(now).collect()
        }
        State::Stopping => vec![NotifyState::Stopping],
        State::Alive => vec![NotifyState::Watchdog],
    };
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!(%error, ?state, "the service manager could not be told");
    }
}

/// How often it wants to hear that all is well, if at all: twice as often as it looks.
#[cfg(unix)]
pub(crate) fn heartbeat_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|period| period / 2)
}

#[cfg(not(unix))]
pub(crate) fn inherited() -> io::Result<Option<TcpListener>> {
    Ok(None)
}

#[cfg(not(unix))]
pub(crate) fn tell(_state: State) {}

#[cfg(not(unix))]
pub(crate) fn heartbeat_interval() -> Option<Duration> {
    None
}
