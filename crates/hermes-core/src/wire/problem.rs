//! Problem documents (RFC 9457): how errors look on the wire.
//!
//! The codes are constants shared by the server and its clients, so that they cannot drift.

use serde::{Deserialize, Serialize};

/// The media type of a problem document.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// Every code, with the status and the title that go with it.
        pub mod code {
            $($(#[$doc])* pub const $name: &str = $code;)*
            /// All of them, in the order of the contract.
            pub const ALL: &[&str] = &[$($code),*];
        }
        /// Status and title of a code; 500 for one that is not in the table.
        #[must_use]
        pub fn status_and_title(code: &str) -> (u16, &'static str) {
            match code {
                $($code => ($status, $title),)*
                _ => (500, "Internal error"),
            }
        }
    };
}

codes! {
    /// The body is not the JSON that is expected here.
    INVALID_BODY = "invalid_body", 400, "The body cannot be read";
    /// A member or parameter has a wrong value.
    INVALID_FIELD = "invalid_field", 400, "A value is wrong";
    /// A member or parameter is not known.
    UNKNOWN_FIELD = "unknown_field", 400, "A name is not known here";
    /// A name or id breaks its grammar.
    INVALID_NAME = "invalid_name", 400, "A name is wrong";
    /// Keys are asked for, and the request has none.
    KEY_MISSING = "key_missing", 401, "A key is needed";
    /// The key is not known here, has expired or was revoked.
    KEY_INVALID = "key_invalid", 403, "The key is not valid";
    /// The key is good, but not for this.
    NOT_ALLOWED = "not_allowed", 403, "The key does not allow this";
    /// The endpoint belongs to another owner.
    NOT_OWNER = "not_owner", 403, "The endpoint belongs to somebody else";
    /// No such service is known.
    SERVICE_UNKNOWN = "service_unknown", 404, "The service is not known";
    /// The service has no such endpoint, and remembers none.
    ENDPOINT_UNKNOWN = "endpoint_unknown", 404, "The endpoint is not known";
    /// There is no such route.
    ROUTE_UNKNOWN = "route_unknown", 404, "There is no such route";
    /// The route has no such method.
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "The route has no such method";
    /// A newer incarnation lives.
    INCARNATION_STALE = "incarnation_stale", 409, "A newer incarnation lives";
    /// The registry is full in one respect.
    LIMIT_REACHED = "limit_reached", 409, "A limit is reached";
    /// The endpoint was removed.
    ENDPOINT_GONE = "endpoint_gone", 410, "The endpoint was removed";
    /// The list behind a cursor is no longer kept.
    CURSOR_EXPIRED = "cursor_expired", 410, "The cursor has expired";
    /// The caller's own condition does not hold.
    PRECONDITION_FAILED = "precondition_failed", 412, "The condition does not hold";
    /// Something is larger than its limit.
    TOO_LARGE = "too_large", 413, "Too large";
    /// The body has another media type, or is compressed.
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "The media type is not supported";
    /// More requests than one key or address may make.
    RATE_LIMITED = "rate_limited", 429, "Too many requests";
    /// The service is known, but none of its endpoints may be handed out.
    NOTHING_READY = "nothing_ready", 503, "Nothing is ready";
    /// The server has more to do than it can queue.
    OVERLOADED = "overloaded", 503, "Overloaded";
    /// The log cannot be written.
    LOG_UNAVAILABLE = "log_unavailable", 503, "The log cannot be written";
    /// The server is stopping.
    STOPPING = "stopping", 503, "The server is stopping";
}

/// An error as it is sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// `urn:hermes:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, what it means, what to do.
    pub detail: String,
    /// For programs.
    pub code: String,
    /// To find it in the server's log.
    pub request_id: String,
    /// JSON pointer or parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Known names that are nearest to the wrong one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
    /// The service in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The endpoints in question, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ProblemEndpoint>,
    /// The limit that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<ProblemLimit>,
    /// How an endpoint was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<String>,
    /// The incarnation that lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
}

/// An endpoint, and why it is not handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemEndpoint {
    /// Which one.
    pub id: String,
    /// Its health.
    pub health_status: String,
    /// Its flags.
    pub flags: Vec<String>,
    /// Why it is not handed out.
    pub health_reason: String,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemLimit {
    /// What is limited.
    pub what: String,
    /// The most that is allowed.
    pub max: usize,
}

impl Problem {
    /// A problem with the status and title of its code.
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let (status, title) = status_and_title(code);
        Self {
            kind: format!("urn:hermes:problem:{code}"),
            title: title.into(),
            status,
            detail: detail.into(),
            code: code.into(),
            ..Self::default()
        }
    }

    /// The same about one member or parameter.
    #[must_use]
    pub fn at(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }
}
