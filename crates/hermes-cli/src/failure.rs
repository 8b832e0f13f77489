//! What went wrong, for the person at the prompt: what happened, and what to do next.

use std::io;

use hermes_core::wire::problem::{Problem, ProblemEndpoint, code};
use hermes_discovery::client::ClientError;
use hermes_server::settings::Faults;

use crate::exit::Exit;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server was not reached, did not answer, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Stdout takes no more. When its reader has left, that is a normal end.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    /// Settings are wrong, each of them a fact.
    #[error("{}", count_of(.0))]
    Settings(#[from] Faults),
    /// The command itself knows best.
    #[error("{what}")]
    Told {
        exit: Exit,
        what: String,
        hint: Option<String>,
    },
    /// The same with single facts.
    #[error("{what}")]
    Listed {
        exit: Exit,
        what: String,
        facts: Vec<String>,
        hint: Option<String>,
    },
}

impl Failure {
    /// A failure with its own words, and what to do about it.
    pub(crate) fn told(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Told {
            exit,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => Exit::from(error),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Failed,
            Self::Told { exit, .. } | Self::Listed { exit, .. } => *exit,
            Self::Settings(_) => Exit::Usage,
        }
    }

    /// Whether anybody should hear of it: not that `head` has read enough.
    pub(crate) fn is_worth_telling(&self) -> bool {
        self.exit() != Exit::Done
    }

    /// Single facts that belong to it, one a line.
    pub(crate) fn facts(&self) -> Vec<String> {
        let problem = match self {
            Self::Client(ClientError::Problem(problem)) => problem,
            Self::Listed { facts, .. } => return facts.clone(),
            Self::Settings(faults) => return faults.0.iter().map(ToString::to_string).collect(),
            _ => return Vec::new(),
        };
        let ids = problem.endpoints.iter().map(|endpoint| endpoint.id.len());
        let width = ids.max().unwrap_or_default();
        problem
            .endpoints
            .iter()
            .map(|endpoint| fact(endpoint, width))
            .collect()
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => hint_of(error),
            Self::Output(_) => Some("look at where stdout leads: is the disk full?".into()),
            Self::Told { hint, .. } | Self::Listed { hint, .. } => hint.clone(),
            Self::Settings(_) => Some(
                "`hermes config check` tells when all is right, and with --show every value".into(),
            ),
        }
    }
}

fn count_of(faults: &Faults) -> String {
    match faults.0.len() {
        1 => "a setting is wrong".into(),
        many => format!("{many} settings are wrong"),
    }
}

fn fact(endpoint: &ProblemEndpoint, width: usize) -> String {
    let (health, reason) = (&endpoint.health_status, &endpoint.health_reason);
    let unsaid = endpoint.flags.iter().filter(|flag| !reason.contains(*flag));
    let state: Vec<&str> = [health]
        .into_iter()
        .chain(unsaid)
        .map(String::as_str)
        .collect();
    format!("{:width$}  {}: {reason}", endpoint.id, state.join(", "))
}

/// What to do about an error of the client.
pub(crate) fn hint_of(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::Problem(problem) => return hint_of_problem(problem),
        ClientError::Unreachable { .. } => {
            "start a server with `hermes serve`, or say where one is: --addr http://HOST:PORT or \
             HERMES_ADDR"
        }
        ClientError::TimedOut { .. } => {
            "it may be overloaded or stuck: `hermes status` asks for very little; --timeout waits \
             longer"
        }
        ClientError::Nonsense { .. } => {
            "is this the right port? A Hermes server listens on 8001 unless told otherwise"
        }
        ClientError::Denied { .. } => {
            "a proxy may stand before the server, and ask for credentials that this command does \
             not have: ask whoever runs it, or say another address with --addr"
        }
        ClientError::InvalidAddress { .. } => {
            "write it as http://HOST:PORT, in --addr or in HERMES_ADDR"
        }
        _ => return None,
    };
    Some(hint.into())
}

fn hint_of_problem(problem: &Problem) -> Option<String> {
    let name = problem.service_name.as_deref().unwrap_or("NAME");
    // The detail often names them already.
    let unsaid = problem
        .nearest
        .iter()
        .filter(|name| !problem.detail.contains(*name));
    let near: Vec<&str> = unsaid.map(String::as_str).collect();
    let near = match &near[..] {
        [] => String::new(),
        near => format!("did you mean {}? ", near.join(" or ")),
    };
    match problem.code.as_str() {
        code::SERVICE_UNKNOWN => Some(format!("{near}`hermes services` lists what is known")),
        code::ENDPOINT_UNKNOWN => Some(format!("{near}`hermes endpoints {name}` lists them")),
        code::ENDPOINT_GONE => Some("register it again with `hermes register`".into()),
        code::NOTHING_READY => Some(format!(
            "`hermes watch {name}` shows when that changes; `hermes select {name} --fallback any` \
             hands out one all the same"
        )),
        code::KEY_MISSING => {
            let hint = "put one into HERMES_API_KEY, or name a file that holds it with \
                        HERMES_API_KEY_FILE; `hermes key create` makes one";
            Some(hint.into())
        }
        code::KEY_INVALID => {
            let hint = "look at HERMES_API_KEY and HERMES_API_KEY_FILE, and at `hermes key list`";
            Some(hint.into())
        }
        code::ROUTE_UNKNOWN => Some("this server may be older than this command".into()),
        _ => Some(near.trim_end().to_owned()).filter(|near| !near.is_empty()),
    }
}
