//! The signals that `hermes run` and `hermes up` act upon, in the order in which they come.
//!
//! A signal that was ignored when the command began stays ignored: that is how `nohup` and a shell
//! that starts something in the background say what shall not reach it.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Those that are acted upon, and the names of those that end a process.
const NAMES: [(Signal, &str); 14] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::TERM, "SIGTERM"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::WINCH, "SIGWINCH"),
    (Signal::KILL, "SIGKILL"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::ILL, "SIGILL"),
    (Signal::FPE, "SIGFPE"),
    (Signal::ALARM, "SIGALRM"),
];

/// The first so many of [`NAMES`] are listened to.
const HEARD: usize = 7;

/// The name of a signal, such as `SIGTERM`.
pub(super) fn name(number: u8) -> Option<&'static str> {
    let mut names = NAMES.iter();
    let found = names.find(|(signal, _)| signal.as_raw() == i32::from(number));
    found.map(|(_, name)| *name)
}

/// Hears the signals from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    heard: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Begins to listen. No signal finds its default handler from here on.
    pub(crate) fn install() -> io::Result<Self> {
        let ignored = ignored();
        let mut heard = Vec::new();
        for (signal, _) in &NAMES[..HEARD] {
            if ignored & (1 << (signal.as_raw() - 1)) == 0 {
                let kind = SignalKind::from_raw(signal.as_raw());
                heard.push((*signal, unix::signal(kind)?));
            }
        }
        Ok(Self { heard })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.heard {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that are ignored, a bit for each. Only Linux tells without unsafe code.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_where_people_know_one() {
        assert_eq!(name(15), Some("SIGTERM"));
        assert_eq!(name(9), Some("SIGKILL"));
        assert_eq!(name(64), None);
        let heard = NAMES[..HEARD].iter().map(|(_, name)| *name);
        assert!(!heard.into_iter().any(|name| name == "SIGKILL"));
    }
}
