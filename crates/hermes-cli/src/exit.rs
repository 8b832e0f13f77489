//! Exit codes: what a script learns without reading a word.

use std::process::ExitCode;

use hermes_core::wire::problem::{Problem, code};
use hermes_discovery::client::ClientError;

/// How the command ends. The numbers are part of the contract and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It failed for a reason that has no code of its own.
    Failed = 1,
    /// The command or a value in it is wrong.
    Usage = 2,
    /// The service or endpoint is not known.
    Unknown = 3,
    /// The server did not answer in time.
    TimedOut = 4,
    /// The server does not allow it.
    Denied = 5,
    /// No server can be reached.
    Unreachable = 6,
    /// The service is known, but nothing is ready.
    NothingReady = 7,
    /// Ctrl-C.
    Interrupted = 130,
}

/// The codes as the help shows them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  ok                 4  timed out        7    known, but nothing ready
  1  failed             5  denied           130  interrupted
  2  usage              6  unreachable
  3  unknown service or endpoint";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => Self::from(&**problem),
            ClientError::Unreachable { .. } => Self::Unreachable,
            ClientError::TimedOut { .. } => Self::TimedOut,
            ClientError::Denied { .. } => Self::Denied,
            ClientError::InvalidAddress { .. }
            | ClientError::Tls { .. }
            | ClientError::Unsendable { .. } => Self::Usage,
            // Nonsense, and whatever else there will be.
            _ => Self::Failed,
        }
    }
}

impl From<&Problem> for Exit {
    fn from(problem: &Problem) -> Self {
        match problem.code.as_str() {
            code::SERVICE_UNKNOWN | code::ENDPOINT_UNKNOWN | code::ENDPOINT_GONE => Self::Unknown,
            code::NOTHING_READY => Self::NothingReady,
            code::INVALID_BODY | code::INVALID_FIELD | code::UNKNOWN_FIELD | code::INVALID_NAME => {
                Self::Usage
            }
            _ if matches!(problem.status, 401 | 403) => Self::Denied,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, status: u16) -> Exit {
        let problem = Problem {
            status,
            ..Problem::new(code, "")
        };
        Exit::from(&ClientError::Problem(Box::new(problem)))
    }

    #[test]
    fn every_problem_has_the_exit_code_of_what_the_user_can_do_about_it() {
        let cases = [
            ("service_unknown", 404, 3),
            ("endpoint_unknown", 404, 3),
            ("endpoint_gone", 410, 3),
            ("nothing_ready", 503, 7),
            ("key_missing", 401, 5),
            ("not_owner", 403, 5),
            ("invalid_name", 400, 2),
            ("overloaded", 503, 1),
            ("of_a_later_day", 409, 1),
        ];
        for (code, status, exit) in cases {
            assert_eq!(of(code, status) as u8, exit, "{code}");
        }
    }
}
