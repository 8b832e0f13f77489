//! What there is to tell about a program that runs, and who hears it.

use std::fmt;
use std::time::Duration;

use tokio::process::{ChildStderr, ChildStdout};
use tokio::task::JoinHandle;

use super::process::Ending;

/// Hears what happens. For `hermes run` that is stderr, for `hermes up` a line of state.
pub(crate) trait Audience: Send + Sync + fmt::Debug {
    /// Something has happened.
    fn tell(&self, news: &News);

    /// Whether the command's output is read, instead of passed through.
    fn is_reading(&self) -> bool {
        false
    }

    /// Reads the command's output to its end.
    fn read(&self, _output: ChildStdout, _errors: ChildStderr) -> Option<JoinHandle<()>> {
        None
    }
}

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// Others are not ready yet; why is nothing, or that nobody can tell.
    Waiting {
        needs: Vec<String>,
        trouble: Option<String>,
    },
    Started {
        command: String,
        pid: i32,
        place: String,
    },
    /// It runs, but nobody can connect.
    Silent {
        place: String,
        after: Duration,
    },
    Registered {
        id: String,
        service: String,
        url: String,
    },
    /// The server does not know it any more; it is registered again.
    Forgotten {
        why: String,
    },
    /// The server cannot be asked; that is tried again.
    Away {
        why: String,
    },
    Back,
    /// A newer one has the same id.
    Replaced {
        id: String,
    },
    /// No work is wanted any more; what has begun is finished.
    Draining {
        wait: Duration,
    },
    Undrained {
        why: String,
    },
    Stopping {
        patience: Duration,
    },
    Killing,
    Ended {
        ending: Ending,
    },
    /// It is started again after a while; why is what kept it from being started this time.
    Restarting {
        wait: Duration,
        why: Option<String>,
    },
    Deregistered {
        id: String,
    },
    /// It could not be deregistered: its lease will run out.
    Left {
        why: String,
        ttl: Duration,
    },
}

impl News {
    /// The state it is in from now on, in a word or two; nothing when that has not changed.
    pub(crate) fn state(&self) -> Option<&'static str> {
        Some(match self {
            Self::Waiting { .. } => "waiting",
            Self::Started { .. } => "starting",
            Self::Registered { .. } | Self::Back => "registered",
            Self::Away { .. } | Self::Forgotten { .. } => "unregistered",
            Self::Replaced { .. } => "replaced",
            Self::Draining { .. } => "draining",
            Self::Stopping { .. } | Self::Killing => "stopping",
            Self::Restarting { .. } => "restarting",
            Self::Ended { .. } => "ended",
            Self::Silent { .. }
            | Self::Undrained { .. }
            | Self::Deregistered { .. }
            | Self::Left { .. } => return None,
        })
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { needs, trouble } => {
                let needs = needs.join(", ");
                match trouble {
                    None => write!(f, "waiting for {needs} to be ready"),
                    Some(why) => write!(f, "waiting for {needs}: {why}"),
                }
            }
            Self::Started {
                command,
                pid,
                place,
            } => write!(
                f,
                "started `{command}` (pid {pid}); it is to listen on {place}"
            ),
            Self::Silent { place, after } => write!(
                f,
                "nobody accepts connections on {place} after {} s, so nothing is registered yet; \
                 does the command listen on this port ($PORT)?",
                after.as_secs()
            ),
            Self::Draining { wait } if wait.is_zero() => write!(f, "draining"),
            Self::Draining { wait } => {
                let wait = wait.as_secs_f64();
                write!(f, "draining; the command is ended in {wait} s")
            }
            Self::Stopping { patience } => {
                let patience = patience.as_secs_f64();
                write!(f, "ending the command; it has {patience} s to finish")
            }
            Self::Killing => write!(f, "the command is killed"),
            Self::Ended { ending } => write!(f, "the command has ended: {ending}"),
            Self::Restarting { wait, why } => {
                let wait = wait.as_secs_f64();
                match why {
                    None => write!(f, "the command is started again in {wait:.1} s"),
                    Some(why) => write!(f, "{why}; trying again in {wait:.1} s"),
                }
            }
            _ => self.of_registry(f),
        }
    }
}

impl News {
    /// What is about the registry, and not about the command.
    fn of_registry(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { id, service, url } => {
                write!(f, "registered {id} in {service} at {url}")
            }
            Self::Forgotten { why } => write!(f, "{why}; registering again"),
            Self::Away { why } => write!(
                f,
                "{why}; the command runs on, and is registered when that is possible"
            ),
            Self::Replaced { id } => write!(
                f,
                "a newer process is registered as {id}: this one runs on, but sends no heartbeats \
                 any more; give it an --id of its own if both are wanted"
            ),
            Self::Undrained { why } => {
                write!(f, "{why}; not drained, the command is ended at once")
            }
            Self::Deregistered { id } => write!(f, "deregistered {id}"),
            Self::Left { why, ttl } => {
                let ttl = ttl.as_secs_f64();
                write!(
                    f,
                    "{why}; not deregistered, its lease runs out within {ttl} s"
                )
            }
            _ => write!(f, "Hermes answers again"),
        }
    }
}
