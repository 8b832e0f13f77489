//! Explain: why an endpoint is not handed out.
//!
//! One pure function knows the reasons. Error answers, the command line and later `/why` all show
//! what it says, so they cannot disagree.

use std::fmt;

use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::time::Timestamp;

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
            } => {
                write!(f, "check `{check}` fails since {since}: {evidence}")
            }
            Self::Unknown { check } => write!(f, "check `{check}` has no result yet"),
        }
    }
}
