//! What a probe saw, in words.
//!
//! Evidence is for people, is kept in the log and is shown for as long as nothing changes, so it is
//! short, says the same thing in the same words on every machine, and never repeats what a stranger
//! sent. It has at most [`EVIDENCE_LENGTH_MAX`] bytes.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use hermes_core::check::{EVIDENCE_LENGTH_MAX, HttpCheck, HttpMethod, StatusMatch};
use hermes_core::health::Health;

use super::reach::Refused;

/// Bytes of a path that evidence shows; what follows it matters more than its end.
const PATH_SHOWN_MAX: usize = 96;
/// What systems answer when no more files may be open: ENFILE and EMFILE, and WSAEMFILE.
const TOO_MANY_FILES: [i32; 3] = [23, 24, 10_024];

/// An answer, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) health: Health,
    pub(super) evidence: String,
}

/// Why an attempt came to no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The time was over.
    Silence,
    /// The connection was not made, or broke.
    Broken(&'static str),
    /// A probe of somebody's own says why.
    Told(Arc<str>),
    /// Something was answered that is no answer; asking again would not help.
    Nonsense(&'static str),
    /// Hermes does not probe there.
    Refused(Refused),
    /// This machine could not ask, which says nothing about whom it wanted to ask.
    OwnLimit,
}

impl Seen {
    pub(super) fn healthy(evidence: String) -> Self {
        let health = Health::Healthy;
        Self { health, evidence }
    }

    pub(super) fn unhealthy(evidence: String) -> Self {
        let health = Health::Unhealthy;
        Self { health, evidence }
    }
}

impl Failure {
    pub(super) fn of_io(error: &io::Error) -> Self {
        let is_own = error
            .raw_os_error()
            .is_some_and(|code| TOO_MANY_FILES.contains(&code));
        if is_own || error.kind() == ErrorKind::OutOfMemory {
            return Self::OwnLimit;
        }
        Self::Broken(match error.kind() {
            ErrorKind::ConnectionRefused => "connection refused",
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset",
            ErrorKind::ConnectionAborted => "connection aborted",
            ErrorKind::TimedOut => "connection timed out",
            ErrorKind::HostUnreachable => "no route to the host",
            ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => "network unreachable",
            ErrorKind::AddrNotAvailable => "no local address to connect from",
            ErrorKind::PermissionDenied => "not allowed to connect",
            ErrorKind::UnexpectedEof => "connection closed without a whole answer",
            ErrorKind::InvalidData | ErrorKind::InvalidInput => "the answer is malformed",
            _ => "connection failed",
        })
    }

    pub(super) fn of_hyper(error: &hyper::Error) -> Self {
        // What is too long counts as well: hyper says the difference to servers only.
        if error.is_parse() {
            return Self::Nonsense("answered no HTTP, or headers of more than 16 KiB");
        }
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Self::Broken("connection closed without a whole answer");
        }
        match error.source().and_then(|source| source.downcast_ref()) {
            Some(error) => Self::of_io(error),
            None => Self::Broken("connection failed"),
        }
    }

    /// Whether another attempt would come to the same.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Nonsense(_) | Self::Refused(_))
    }

    /// The failure in words, after so many attempts of `timeout` each.
    pub(super) fn words(&self, timeout: Duration, attempts: u32) -> String {
        let what = match self {
            Self::Silence => format!("no answer within {}", span(timeout)),
            Self::Broken(words) | Self::Nonsense(words) => (*words).to_owned(),
            Self::Told(words) => words.to_string(),
            Self::Refused(refused) => refused.to_string(),
            Self::OwnLimit => "this machine has too many files open".to_owned(),
        };
        if attempts > 1 {
            format!("{what} ({attempts} attempts)")
        } else {
            what
        }
    }
}

/// What was asked, as evidence begins with it: `GET /health`.
pub(super) fn question(check: &HttpCheck) -> String {
    let method = match check.method {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
    };
    let shown = cut(&check.path, PATH_SHOWN_MAX);
    let dots = if shown.len() < check.path.len() {
        "..."
    } else {
        ""
    };
    format!("{method} {shown}{dots}")
}

/// The statuses that were expected: `2xx or 404`.
pub(super) fn statuses(expected: &[StatusMatch]) -> String {
    let words: Vec<String> = expected
        .iter()
        .map(|status| match status {
            StatusMatch::Exact(status) => status.to_string(),
            StatusMatch::Class(class) => format!("{class}xx"),
        })
        .collect();
    words.join(" or ")
}

/// A duration as people say it: `250 ms`, `5 s`, `1.5 s`.
pub(super) fn span(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "under 1 ms".to_owned(),
        millis @ 1..1_000 => format!("{millis} ms"),
        millis if millis % 1_000 == 0 => format!("{} s", millis / 1_000),
        millis => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
    }
}

/// Evidence as it is reported: cut to its limit.
pub(super) fn bounded(evidence: &str) -> Arc<str> {
    cut(evidence, EVIDENCE_LENGTH_MAX).into()
}

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_cut_between_two_characters() {
        let long = "\u{e9}".repeat(200);
        assert_eq!(bounded(&long).len(), 256);
        assert_eq!(bounded(&format!("a{long}")).len(), 255);
        assert_eq!(&*bounded("short"), "short");
        assert_eq!(cut("\u{1f600}", 3), "");
    }

    #[test]
    fn a_long_path_does_not_push_out_what_was_answered() {
        let path = format!("/{}", "a".repeat(255));
        let check = HttpCheck {
            path,
            ..HttpCheck::default()
        };
        let text = question(&check);
        assert!(text.len() < 110 && text.ends_with("a..."), "{text}");
        assert_eq!(question(&HttpCheck::default()), "GET /health");
    }

    #[test]
    fn spans_are_said_as_people_say_them() {
        let cases = [
            (Duration::from_micros(300), "under 1 ms"),
            (Duration::from_millis(3), "3 ms"),
            (Duration::from_millis(999), "999 ms"),
            (Duration::from_secs(5), "5 s"),
            (Duration::from_millis(1_550), "1.5 s"),
            (Duration::from_secs(3_600), "3600 s"),
        ];
        for (duration, text) in cases {
            assert_eq!(span(duration), text);
        }
    }

    #[test]
    fn failures_have_stable_words() {
        let refused = Failure::of_io(&ErrorKind::ConnectionRefused.into());
        assert_eq!(
            refused.words(Duration::from_secs(5), 1),
            "connection refused"
        );
        assert_eq!(
            Failure::Silence.words(Duration::from_secs(5), 3),
            "no answer within 5 s (3 attempts)"
        );
        let expected = [StatusMatch::Class(2), StatusMatch::Exact(404)];
        assert_eq!(statuses(&expected), "2xx or 404");
    }

    #[test]
    fn too_many_open_files_say_nothing_about_the_endpoint() {
        for code in [23, 24] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(Failure::of_io(&error), Failure::OwnLimit, "{error}");
        }
    }
}
