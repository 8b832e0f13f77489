//! Answers: what a name resolves to, where the answer comes from, and why there is none.
//!
//! An answer is one look: the endpoint, its health and its revision belong together, so nobody asks
//! for the URL first and for the health later, when it is another (R229). *Unknown*, *nothing ready*
//! and *unreachable* are three values with three meanings, and never one `None`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::change::Revision;
use hermes_core::endpoint::Endpoint;
use hermes_core::health::Health;
use hermes_core::name::{EndpointId, NameError};
use hermes_core::rejection::Rejection;

use crate::admission::Refused;
use crate::settings::Fault;

/// What a name resolves to: one endpoint, as it was at one revision.
#[derive(Clone)]
pub struct Resolved {
    /// The endpoint with everything that is known of it.
    pub endpoint: Arc<Endpoint>,
    /// Where the answer comes from, and how old it is.
    pub provenance: Provenance,
    /// The revision of the service when the answer was given.
    pub revision: Revision,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// From what.
    pub source: Source,
    /// For how long it has been kept; zero for what is looked up where it is registered.
    pub age: Duration,
    /// Which rung of a ladder answered, from 0; 0 as well where there is no ladder.
    pub rung: usize,
}

/// The places that an answer can come from. The words are those of the header `Hermes-Source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Source {
    /// The registry itself.
    #[default]
    Live,
    /// A copy that is young enough.
    Cache,
    /// A copy that is too old, because the registry cannot be reached.
    Stale,
    /// An environment variable.
    Environment,
    /// A file of settings.
    Configured,
}

/// Why there is no answer. Sorted by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The text is no name of a service: mend it.
    #[error("`{text}` cannot be the name of a service: {reason}")]
    Name {
        /// What was asked for.
        text: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// Nobody knows the service: look at the name, or register it.
    #[error("service `{service}` is not known{}", similar_words(similar))]
    Unknown {
        /// What was asked for.
        service: String,
        /// Up to three names that are known and look like it.
        similar: Vec<String>,
    },
    /// The service is known, and none of its endpoints may be handed out: wait, or do without.
    #[error("service `{service}` has no endpoint that is ready (of {endpoints}): {why}")]
    NothingReady {
        /// Which service.
        service: String,
        /// How many endpoints it has.
        endpoints: usize,
        /// Why the first of them is not ready.
        why: String,
    },
    /// Whoever would know cannot be asked: this says nothing about the service.
    #[error("service discovery cannot be reached: {reason}; the service may well be there")]
    Unreachable {
        /// Why.
        reason: String,
    },
}

/// Why something was not registered or removed. Sorted by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The text is no name of a service, or no id of an endpoint: mend it.
    #[error("`{text}` cannot be a name here: {reason}")]
    Name {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// The address may not be registered: mend it, or name an exception.
    #[error(transparent)]
    Address(#[from] Refused),
    /// The change itself is refused; the same again will be refused again.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It could not be done now: try again later.
    #[error("nothing was changed: {reason}; try again later")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The discovery was shut down: make another one.
    #[error("service discovery was shut down, and changes nothing any more")]
    ShutDown,
}

/// Why a discovery did not start. Sorted by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Required services are not registered: register them, or require them no longer.
    #[error("Missing required services: {}", services.join(", "))]
    Missing {
        /// Their names.
        services: Vec<String>,
    },
    /// A setting is wrong.
    #[error("{0}")]
    Setting(Fault),
    /// Something that is configured could not be registered.
    #[error("service `{service}` could not be registered: {reason}")]
    Service {
        /// Which one.
        service: String,
        /// Why.
        reason: ChangeError,
    },
    /// It could not be done now: try again later.
    #[error("service discovery did not start: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The discovery was shut down: make another one.
    #[error("service discovery was shut down, and does not start again")]
    ShutDown,
}

impl Resolved {
    /// An answer of the registry itself.
    #[must_use]
    pub fn live(endpoint: Arc<Endpoint>, revision: Revision) -> Self {
        Self {
            endpoint,
            provenance: Provenance::LIVE,
            revision,
        }
    }

    /// Where the endpoint is reached.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.endpoint.registration().address.url
    }

    /// Who the endpoint is within its service.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.endpoint.id
    }

    /// What was known of its health.
    #[must_use]
    pub fn health(&self) -> Health {
        self.endpoint.state.health()
    }

    /// Whether it may be handed out: healthy or degraded, neither starting nor draining.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.endpoint.is_ready()
    }

    /// Whether it is ready, and healthy rather than degraded.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.is_ready() && self.health() == Health::Healthy
    }
}

/// The URL.
impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url())
    }
}

/// One line: `http://memory:9000 (healthy, ready, live, revision 7)`.
impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = if self.is_ready() {
            "ready"
        } else {
            "not ready"
        };
        write!(
            f,
            "{} ({}, {ready}, {}, revision {})",
            self.url(),
            self.health().word(),
            self.provenance,
            self.revision
        )
    }
}

impl Provenance {
    /// The registry itself.
    pub const LIVE: Self = Self {
        source: Source::Live,
        age: Duration::ZERO,
        rung: 0,
    };
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source.word())?;
        if !self.age.is_zero() {
            write!(f, " {} s old", self.age.as_secs())?;
        }
        if self.rung > 0 {
            write!(f, " at rung {}", self.rung)?;
        }
        Ok(())
    }
}

impl Source {
    /// The word for it in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Environment => "environment",
            Self::Configured => "configured",
        }
    }
}

/// What was resolved, as the seed tells it (R102).
pub(crate) fn tell_resolved(service: &str, resolved: &Resolved) {
    tracing::debug!(service, url = resolved.url(), "resolved");
}

/// What was not resolved, as the seed tells it (R102).
pub(crate) fn tell_not_resolved(error: &ResolveError) {
    tracing::warn!(%error, "not resolved");
}

/// What came of a call to resolve.
pub(crate) fn tell(service: &str, answer: &Result<Resolved, ResolveError>) {
    match answer {
        Ok(resolved) => tell_resolved(service, resolved),
        Err(error) => tell_not_resolved(error),
    }
}

fn similar_words(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        similar => format!("; did you mean `{}`?", similar.join("`, `")),
    }
}
