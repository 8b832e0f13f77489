//! Why a server was not asked, did not answer, or said no.

use std::sync::Arc;
use std::time::Duration;

use hermes_core::wire::problem::Problem;

/// Why there is no good answer, by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is there, or the connection broke. Ask again later, ask another server, or fall back
    /// to what is known.
    #[error("no Hermes server can be reached at {address}: {why}")]
    Unreachable {
        /// Where it should be.
        address: Arc<str>,
        /// What the system says.
        why: String,
    },
    /// A server is there, but does not answer in time. A write may have happened all the same; it
    /// may be repeated.
    #[error("the Hermes server at {address} did not answer within {} s", .after.as_secs_f64())]
    TimedOut {
        /// Where it is.
        address: Arc<str>,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server says no, and why. Its `code` tells whether asking again can help.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// Something denies the request, and not in the words of a Hermes server: most likely a proxy
    /// that asks for credentials. Asking again will not help.
    #[error("{address} denies the request: {what}")]
    Denied {
        /// Where it is.
        address: Arc<str>,
        /// How it says so.
        what: String,
    },
    /// Something answers there, but it is not a Hermes server, or a proxy stands between. Asking
    /// again will not help; the address or the proxy is wrong.
    #[error("{address} answers, but not as a Hermes server does: {what}")]
    Nonsense {
        /// Where it is.
        address: Arc<str>,
        /// What is odd about it.
        what: String,
    },
    /// What was given is not the address of a server.
    #[error("`{text}` is not the address of a server: {why}")]
    InvalidAddress {
        /// What was given.
        text: String,
        /// What is wrong about it.
        why: String,
    },
    /// TLS cannot be set up with the files that are named. Nothing was sent.
    #[error("TLS cannot be set up: {why}")]
    Tls {
        /// Which file, and what is wrong with it.
        why: String,
    },
    /// The request cannot be put into HTTP. Nothing was sent.
    #[error("the request cannot be sent: {what}")]
    Unsendable {
        /// What is wrong about it.
        what: String,
    },
}

impl ClientError {
    /// The code of the problem that the server has, if that is what it is.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// Whether the same request may well succeed later: nobody is there yet, or the server has too
    /// much to do.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Problem(problem) => problem.status == 429 || problem.status >= 500,
            _ => false,
        }
    }
}
