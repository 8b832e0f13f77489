//! Explain: why an endpoint is not handed out, and what happens to it next.
//!
//! One pure function knows the reasons, another the next actions. Error answers, the command line and later `/why` all show
//! what it says, so they cannot disagree.

use std::fmt;

use crate::check::{Check, CheckKind};
use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::time::{Moment, Timestamp};

/// Why an endpoint is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// An operator, or the instance itself, wants it to get no new work.
    Draining {
        /// Why, as was said; may be empty.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// No check has succeeded yet.
    Starting {
        /// What the deciding check saw so far.
        evidence: String,
    },
    /// A check finds that it does not work.
    Unhealthy {
        /// The check.
        check: String,
        /// What it saw.
        evidence: String,
        /// Since when.
        since: Timestamp,
        /// Whether its health goes to and fro, so that a success alone does not bring it back.
        flapping: bool,
    },
    /// A check that was added or changed has no result yet.
    Unknown {
        /// The check.
        check: String,
    },
}

/// Why `endpoint` is not handed out; `None` when it is.
#[must_use]
pub fn why_not_ready(endpoint: &Endpoint) -> Option<NotReady> {
    let state = &endpoint.state;
    if let Some(drain) = &state.drain {
        return Some(NotReady::Draining {
            reason: drain.reason.clone(),
            since: drain.since,
        });
    }
    let (check, finding) = state.deciding()?;
    match finding.health {
        Health::Unhealthy => Some(NotReady::Unhealthy {
            check: check.name.clone(),
            evidence: finding.evidence.to_string(),
            since: finding.since,
            flapping: state.flapping,
        }),
        Health::Unknown if state.started => Some(NotReady::Unknown {
            check: check.name.clone(),
        }),
        _ if !state.started => Some(NotReady::Starting {
            evidence: finding.evidence.to_string(),
        }),
        _ => None,
    }
}

/// When a check was probed and will be, as far as whoever probes it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeTimes {
    /// The start of the last probe.
    pub last: Option<Timestamp>,
    /// When it is probed next.
    pub next: Option<Moment>,
}

/// What happens next to a check that finds `health`; `None` when nothing will without a request.
#[must_use]
pub fn next_action(
    endpoint: &Endpoint,
    check: &Check,
    health: Health,
    times: ProbeTimes,
    now: Moment,
) -> Option<String> {
    let pulse = &endpoint.pulse;
    let in_seconds = |at: Moment| at.since(now).as_secs_f64().ceil();
    if check.kind == CheckKind::Heartbeat {
        if health.may_serve() {
            let left = check.timeout.saturating_sub(pulse.silent_for(now));
            let left = left.as_secs_f64().ceil();
            return Some(format!("unhealthy in {left} s unless it is heard from"));
        }
        let left = in_seconds(pulse.lease.deadline()?);
        return Some(format!("removed in {left} s unless it is heard from"));
    }
    let probed = match in_seconds(times.next?) {
        0.0 => "probed now".to_owned(),
        left => format!("probed in {left} s"),
    };
    let steady = pulse.damping.steady_in(now).as_secs_f64().ceil();
    if endpoint.state.flapping && !health.may_serve() && steady > 0.0 {
        return Some(format!(
            "{probed}; it flaps, so a success counts in {steady} s at the earliest while others are ready"
        ));
    }
    Some(probed)
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining { reason, since } if reason.is_empty() => {
                write!(f, "draining since {since}")
            }
            Self::Draining { reason, since } => write!(f, "draining since {since}: {reason}"),
            Self::Starting { evidence } => write!(f, "starting: {evidence}"),
            Self::Unhealthy {
                check,
                evidence,
                since,
                flapping,
            } => {
                let verb = if *flapping { "flaps" } else { "fails" };
                write!(f, "check `{check}` {verb} since {since}: {evidence}")
            }
            Self::Unknown { check } => write!(f, "check `{check}` has no result yet"),
        }
    }
}
